"""A run's messages: a progress bar, or plain lines."""

import contextlib
import datetime
import json
import pathlib
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from distill_jax.tracking import progress


def printable(text: str) -> str:
    r"""`text` with everything spelt out that a terminal might obey, except line breaks.

    >>> printable("3\x1b[31m \u202e4\n")
    '3\\x1b[31m \\u202e4\n'
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


class Terminal:
    """Stages, progress and results on the terminal; plain lines if stdout is not a terminal.

    Only process 0 of several prints.
    """

    def __init__(self, quiet: bool = False):
        self._quiet = quiet
        self._is_terminal = sys.stdout.isatty()
        self._start = time.monotonic()
        self._log: pathlib.Path | None = None
        self._unwritten: list[dict[str, str]] = []

    def keep_log(self, path: pathlib.Path) -> None:
        """Write every line as a line of JSON too, including the earlier ones."""
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
        """Print a line, with the minutes and seconds since the start."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._append({"time": now, "message": text})
        if not self._quiet:
            minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
            print(f"[{minutes:02d}:{seconds:02d}] {printable(text)}", flush=True)

    def show(self, text: str) -> None:
        """Print several lines; they are not kept in the log."""
        if not self._quiet:
            print(printable(text), flush=True)

    def watching(self) -> AbstractContextManager[None]:
        """While the block runs, what progress.py says of it is shown, and gone when it is done."""
        return progress.watched(self)

    @contextlib.contextmanager
    def progress(
        self, title: str, total: int, start: int = 0, *, passing: bool = False
    ) -> Iterator["Progress"]:
        """A bar from `start` to `total` while the block runs; `passing`: nothing of it stays."""
        if self._quiet:
            yield Progress(None, None, lambda text: None, title, total)
        elif not self._is_terminal:
            # What passes has no last line: only work that takes long is told of.
            yield Progress(None, None, self.say, title, total if not passing else total + 1)
        else:
            from rich import progress as rich_progress

            columns = (
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.fields[note]}"),
                rich_progress.TimeRemainingColumn(),
            )
            with rich_progress.Progress(*columns, transient=passing) as bar:
                task = bar.add_task(title, total=total, completed=start, note="")
                yield Progress(bar, task, lambda text: None, title, total)


class Progress:
    """A bar on a terminal, else occasional lines with the time left."""

    LINES_EVERY_S = 10.0

    def __init__(self, bar, task, say, title: str, total: int):
        self._bar, self._task, self._say = bar, task, say
        self._title, self._total = title, total
        self._began: tuple[float, int] | None = None  # the time, and how many were done
        self._last_line = time.monotonic()

    def update(self, done: int, note: str = "") -> None:
        """`done` of the total are done; `note` is shown beside, e.g. the loss."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if self._began is None:  # the time left is estimated from here on: before, it compiled
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
