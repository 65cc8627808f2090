"""How far long work is: said by whoever does it, shown by whoever watches, if anybody does.

Work on many records is done far below the terminal, so what is done is not handed through every
function: `each` asks who watches.
"""

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol, TypeVar

_EVERY = 1000  # items between two updates; less work than that is not shown

_Item = TypeVar("_Item")


class Shown(Protocol):
    """What shows one piece of work."""

    def update(self, done: int) -> None:
        """`done` items of the total are done."""
        ...


class Watcher(Protocol):
    """Who watches."""

    def progress(self, title: str, total: int, *, passing: bool) -> AbstractContextManager[Shown]:
        """Shows work while the block runs; `passing`: nothing of it stays."""
        ...

    def say(self, text: str) -> None:
        """Shows a line."""
        ...


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """While the block runs, `watcher` shows what `each` and `say` say."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def say(text: str) -> None:
    """Tell whoever watches, in a line, what the next seconds are spent on."""
    if (watcher := _watcher.get()) is not None:
        watcher.say(text)


def asks_the_hub(name: str) -> None:
    """Say so: it may take a minute or two, and without a network its libraries try for as long."""
    say(f"{name}: asks the Hugging Face Hub (a local directory instead needs no network)")


def each(items: Iterable[_Item], title: str, total: int, *, of_each: int = 1) -> Iterator[_Item]:
    """The items, of which there are `total`; whoever watches is told how many are done.

    An item that stands for many says so with `of_each`, and so many are counted.
    """
    watcher, every = _watcher.get(), max(1, _EVERY // of_each)
    if watcher is None or total < every:
        yield from items
        return
    with watcher.progress(title, total * of_each, passing=True) as shown:
        for done, item in enumerate(items):
            if done % every == 0:
                shown.update(done * of_each)
            yield item
        shown.update(total * of_each)
