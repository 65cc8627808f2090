"""Predictions of a running evaluation, so that it can continue after it was killed.

Each process appends its share to a separate file, keyed by problem and sample; a line that is
incomplete after a kill is dropped. When all are there, they are written in order to
predictions.jsonl.
"""

import dataclasses
import json
import pathlib
from typing import Any

from distill_jax import distributed, records
from distill_jax.dialogues.answerer import Sampled
from distill_jax.workdir import write_text

Key = tuple[str, int]  # problem id, sample


class PartialPredictions:
    """The files `partial-*.jsonl` of one evaluation's directory."""

    def __init__(self, directory: pathlib.Path):
        self._directory = directory
        self._path = directory / f"partial-{distributed.process_index()}.jsonl"
        self._file: Any = None

    def gather(self) -> dict[Key, Sampled]:
        """The predictions of all processes, in every process; all must call this, before
        `append`."""
        rows: dict[str, Any] = {}
        for path in sorted(self._directory.glob("partial-*.jsonl")):
            rows |= _whole_lines(path.read_text(encoding="utf-8", errors="replace"))
        if self._path.exists():  # drop an incomplete last line
            own = _whole_lines(self._path.read_text(encoding="utf-8", errors="replace"))
            write_text(self._path, "".join(f"{line}\n" for line in own))
        for others in distributed.gather(sorted(rows)):
            rows |= _whole_lines("".join(f"{line}\n" for line in others))
        return {
            (row["id"], row["sample"]): Sampled(
                row["sample"], records.prediction_from_dict(row), row["filled_in"]
            )
            for row in rows.values()
        }

    def append(self, sampled: Sampled) -> None:
        """Add one; after `flush` it survives a kill."""
        if self._file is None:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
        row = {"sample": sampled.sample, "filled_in": sampled.filled_in}
        row |= dataclasses.asdict(sampled.prediction)
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """Pass what was appended to the system."""
        if self._file is not None:
            self._file.flush()

    def remove(self) -> None:
        """Delete the files: everything is in predictions.jsonl now."""
        if self._file is not None:
            self._file.close()
            self._file = None
        for path in self._directory.glob("partial-*.jsonl"):
            path.unlink(missing_ok=True)


def _whole_lines(text: str) -> dict[str, Any]:
    """{line: parsed} of the lines that are JSON; the last one may be incomplete."""
    rows = {}
    for line in text.split("\n")[:-1]:
        try:
            rows[line] = json.loads(line)
        except json.JSONDecodeError:
            continue
    return rows
