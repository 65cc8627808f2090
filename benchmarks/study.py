"""A whole study on this machine, as far as it gets in a limited time.

    python benchmarks/study.py --limit-s 240 --output study.json

runs a sweep by the command that a user gives and writes what each of its runs took and found. The
usual one teaches fresh coin flips to students of the demo's size in four ways. A sweep that the
limit cuts off goes on if it is given the same --workdir.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from benchmarks.results import Results, say, significant  # noqa: E402


def main(argv: list[str]) -> None:
    """Run the sweep and write what ended."""
    arguments, overrides = parser().parse_known_args(argv)
    results = Results(arguments.output, arguments)
    # A run that was cut off may still be writing there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        workdir = pathlib.Path(arguments.workdir or temporary).resolve()
        say(f"{arguments.config}, at most {arguments.limit_s:.0f} s")
        sweep = [
            sys.executable, "-m", "distill_jax.sweep", f"--config={arguments.config}",
            f"--workdir={workdir}", f"--arms={arguments.arms}", *overrides,
        ]  # fmt: skip
        ended = "by itself"
        try:
            if code := subprocess.run(sweep, cwd=ROOT, timeout=arguments.limit_s).returncode:
                raise SystemExit(f"error: the sweep ended with code {code}")
        except subprocess.TimeoutExpired:
            ended = f"cut off after {arguments.limit_s:.0f} s"
        for report in sorted(workdir.glob("*/report.json")):
            results.add("study", report.parent.name, _figures(report))
        results.add("end", "ended", ended)
    results.show()


def _figures(report: pathlib.Path) -> dict[str, Any]:
    """Of a run that has ended."""
    stored = json.loads(report.read_text(encoding="utf-8"))
    log = (report.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()
    first, last = (datetime.datetime.fromisoformat(json.loads(log[at])["time"]) for at in (0, -1))
    environment = json.loads((report.parent / "environment.json").read_text(encoding="utf-8"))
    return {
        "seconds": (last - first).total_seconds(),
        "evaluation_s": significant(stored["seconds"]),
        "problems": stored["n"],
        "accuracy": stored["accuracy"],
        "accuracy_interval": stored["accuracy_interval"],
        "devices": environment["devices"],
    }


def parser() -> argparse.ArgumentParser:
    """All arguments; those of config keys go to the sweep."""
    found = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Any config key can be set: --config.section.key=value.",
        allow_abbrev=False,
    )
    found.add_argument("--config", default="configs/sweeps/made_tasks.py", help="a sweep")
    found.add_argument("--arms", default="made_coins-*", help="of the sweep")
    found.add_argument("--workdir", default="", help="for its runs; '' = a temporary one")
    found.add_argument("--limit-s", type=float, default=600, help="then the sweep is ended")
    found.add_argument("--output", default="", help="file for the JSON")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
