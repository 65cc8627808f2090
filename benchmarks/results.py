"""The machine's facts in every result, and a JSON file that is complete at any time."""

import importlib.metadata
import json
import os
import pathlib
import platform
from typing import Any

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "torch",
    "transformers",
    "tokenizers",
    "xllamacpp",
)


class Results:
    """A growing JSON object; after every change the file has all of it."""

    def __init__(self, output: str, arguments: Any, *, again: bool = False):
        """`again`: go on with what the file has, if it was measured on this machine with these
        arguments; otherwise raise SystemExit."""
        left_out = ("output", "limit_s") if again else ("output",)
        given = {k: v for k, v in vars(arguments).items() if k not in left_out}
        self.values: dict[str, Any] = {"arguments": given, "machine": machine()}
        self._path = pathlib.Path(output) if output else None
        if again and self._path is not None and self._path.exists():
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            for key, value in self.values.items():
                if stored[key] != value:
                    raise SystemExit(
                        f"error: --output={output} was measured with other {key}: give a new file"
                    )
            self.values = stored
        self._write()

    def has(self, section: str, name: str) -> bool:
        """Whether there is a value under section and name."""
        return name in self.values.get(section, {})

    def add(self, section: str, name: str, value: Any) -> None:
        """Put `value` under section and name, and write."""
        self.values.setdefault(section, {})[name] = value
        self._write()

    def show(self) -> None:
        """Print all of it."""
        print(json.dumps(self.values, indent=1), flush=True)

    def _write(self) -> None:
        if self._path is None:
            return
        beside = self._path.with_name(f"{self._path.name}.part")
        beside.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self._path)


def machine() -> dict[str, Any]:
    """Processor, cores, versions."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor(),
        "cores": len(usable_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def usable_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _processor() -> str:
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def significant(value: float) -> float:
    """Four significant digits; more would be noise."""
    return float(f"{value:.4g}")


def say(text: str) -> None:
    """A line of progress."""
    print(f"# {text}", flush=True)
