"""metrics.jsonl: the values of a run, one JSON object per line."""

import contextlib
import json
import pathlib

from distill_jax import workdir


class MetricsFile:
    """One JSON object per line: {"step": 20, "train/solver/loss": 3.1, ...}."""

    def __init__(self, path: pathlib.Path | None):
        """With `path` None nothing is written, as in all processes except process 0."""
        self._path = path

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line. Only the last line can be incomplete, after a power cut."""
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All lines so far, without an incomplete last line and damaged ones."""
        if self._path is None or not self._path.exists():
            return []
        rows = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").split("\n"):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict) and "step" in row:
                    rows.append(row)
        return rows

    def forget_after(self, step: int, prefix: str) -> None:
        """Drop the lines of `prefix` after `step`: a resumed run writes them again.

        An incomplete last line is dropped too; otherwise the next one would be appended to it.
        """
        if self._path is None or not self._path.exists():
            return
        rows = self.rows()
        kept = [
            row for row in rows if row["step"] <= step or not any(k.startswith(prefix) for k in row)
        ]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        if text != self._path.read_text(encoding="utf-8", errors="replace"):
            workdir.write_text(self._path, text)

    def steps(self, prefix: str) -> list[int]:
        """The steps that have a value of `prefix`, in order."""
        return [int(row["step"]) for row in self.rows() if any(k.startswith(prefix) for k in row)]

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of one metric, in order."""
        return [(int(row["step"]), row[name]) for row in self.rows() if name in row]
