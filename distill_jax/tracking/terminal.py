"""What a run says while it runs: `metrics.jsonl`, and a progress bar or plain lines."""

import contextlib
import datetime
import json
import pathlib
import sys
import time
from collections.abc import Iterator

from distill_jax import workdir


class MetricsFile:
    """One JSON object per line: {"step": 20, "train/solver/loss": 3.1, ...}."""

    def __init__(self, path: pathlib.Path | None):
        """`path` None writes nothing: only process 0 of several does."""
        self._path = path

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one line; a line is written whole or, at a power cut, is the last one."""
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def rows(self) -> list[dict[str, float]]:
        """All lines so far; a torn last line is left out."""
        if self._path is None or not self._path.exists():
            return []
        rows = []
        for line in self._path.read_text(encoding="utf-8").split("\n"):
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
        return rows

    def forget_after(self, step: int, prefix: str) -> None:
        """Drop the lines of `prefix` after `step`: a resumed run writes them again.

        A torn last line goes too, or the next one would be written onto its end.
        """
        if self._path is None or not self._path.exists():
            return
        rows = self.rows()
        kept = [
            row for row in rows if row["step"] <= step or not any(k.startswith(prefix) for k in row)
        ]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        if text != self._path.read_text(encoding="utf-8"):
            workdir.write_text(self._path, text)

    def steps(self, prefix: str) -> list[int]:
        """The steps that have a value of `prefix`, in order."""
        return [int(row["step"]) for row in self.rows() if any(k.startswith(prefix) for k in row)]

    def curve(self, name: str) -> list[tuple[int, float]]:
        """(step, value) of one metric, in order."""
        return [(int(row["step"]), row[name]) for row in self.rows() if name in row]


class Terminal:
    """Stages, progress and results on the terminal; plain lines where it is none.

    Only process 0 of several prints.
    """

    def __init__(self, quiet: bool = False):
        self._quiet = quiet
        self._is_terminal = sys.stdout.isatty()
        self._start = time.monotonic()
        self._log: pathlib.Path | None = None
        self._unwritten: list[dict[str, str]] = []

    def keep_log(self, path: pathlib.Path) -> None:
        """From now on, and for what was said before, write a line of JSON per line said."""
        if self._log is None:
            self._log = path
            for record in self._unwritten:
                self._append(record)

    def _append(self, record: dict[str, str]) -> None:
        if self._log is None:
            self._unwritten.append(record)
            return
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def say(self, text: str) -> None:
        """One line, with the minutes and seconds since the start."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._append({"time": now, "message": text})
        if not self._quiet:
            minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
            print(f"[{minutes:02d}:{seconds:02d}] {text}", flush=True)

    def show(self, text: str) -> None:
        """Several lines as they are, for the person at the terminal; not kept in the log."""
        if not self._quiet:
            print(text, flush=True)

    @contextlib.contextmanager
    def progress(self, title: str, total: int, start: int = 0) -> Iterator["Progress"]:
        """A bar from `start` to `total` while the block runs."""
        if self._quiet:
            yield Progress(None, None, lambda text: None, title, total)
        elif not self._is_terminal:
            yield Progress(None, None, self.say, title, total)
        else:
            from rich import progress as rich_progress

            columns = (
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.fields[note]}"),
                rich_progress.TimeRemainingColumn(),
            )
            with rich_progress.Progress(*columns) as bar:
                task = bar.add_task(title, total=total, completed=start, note="")
                yield Progress(bar, task, lambda text: None, title, total)


class Progress:
    """A bar on a terminal, else a line now and then with the time left."""

    LINES_EVERY_S = 10.0

    def __init__(self, bar, task, say, title: str, total: int):
        self._bar, self._task, self._say = bar, task, say
        self._title, self._total = title, total
        self._began: tuple[float, int] | None = None  # when, and with how many done
        self._last_line = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """`done` of the total are done; `note` is shown beside, e.g. the loss."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if self._began is None:  # the time left is reckoned from here: before, it compiled
            self._began = now, done
        if now - self._last_line < self.LINES_EVERY_S and done < self._total:
            return
        self._last_line = now
        line = f"{self._title} {done}/{self._total} {note}"
        began, first = self._began
        if done > first:
            left = int((self._total - done) * (now - began) / (done - first))
            line += f" left {left // 60}:{left % 60:02d}"
        self._say(line)
