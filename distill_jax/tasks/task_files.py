"""Tasks in the common format of Ho et al. (2022): a file NAME.json with one list of rows,

    [{"question": "Mary has 8 cups. She gives away 2. How many are left?", "answer": "6"}, ...]

and their splits. Where no official split exists, the authors took the first 70 % and the last 30 %
of numpy.random.RandomState(0).permutation(rows) as places in the file (data/split/ of
https://github.com/itsnamgyu/reasoning-teacher; https://arxiv.org/abs/2212.10071).

Nobody looked at what these splits share. So a test problem has attributes["overlap"], which says
what of it a training problem has too, and some tasks have a second protocol, `grouped`: the same
rows, but all rows of a group (of one story, say) are on one side. The groups are divided as above.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from distill_jax.errors import UserError
from distill_jax.records import Problem
from distill_jax.tasks import upstream

SPLITS = ("train", "test")
PROTOCOLS = ("ho", "grouped")
URL = "https://github.com/itsnamgyu/reasoning-teacher"
LICENCES = {"files of Fine-tune-CoT": "MIT, the licence of their repository"}

StoryType = TypeVar("StoryType")

_TRAIN_SHARE = 0.7


class Row(NamedTuple):
    """A row of the file; `where` names it in messages."""

    place: int  # in the file, from 0
    where: str
    question: str
    answer: str
    split: str  # the side of the authors' split: train, test


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One of the authors' files.

    name         of the file, without .json, and of the ids: NAME/17
    train, test  how many rows the authors' split has
    in_order     the split is the first `train` rows and the others, not a permutation
    from_hub     makes {"question", "answer"} from the fields of a row of the Hub
    """

    name: str
    train: int
    test: int
    in_order: bool = False
    from_hub: Callable[[dict[str, Any]], dict[str, Any]] = dict

    def rows(self, directory: str, hub_id: str = "") -> list[Row]:
        """All rows, from NAME.json in `directory` or else from the Hub, whose rows are in order of
        its own split.

        Raises UserError where a file, row or field is missing or malformed, and where neither is
        given.
        """
        files = f"{self.name}.json from {URL} (its folder dataset/)"
        count = self.train + self.test
        if directory:
            path = upstream.folder(directory, files) / f"{self.name}.json"
            raw, source, in_order = upstream.json_rows(path, URL), str(path), self.in_order
        elif hub_id:
            raw = [(w, self.from_hub(row)) for w, row in upstream.hub_rows(hub_id, files)[:count]]
            source, in_order = hub_id, True
        else:
            raise UserError(
                f"{self.name} is read from a file: set --{upstream.DIRECTORY} to a folder with "
                f"{files}"
            )
        if len(raw) != count:
            raise UserError(f"{source}: {len(raw)} rows instead of {count}: take {files}")
        train = set(range(count)[: self.train] if in_order else permutation(count)[: self.train])
        return [
            Row(
                place,
                where,
                upstream.text_field(row, "question", where, URL),
                upstream.text_field(row, "answer", where, URL),
                "train" if place in train else "test",
            )
            for place, (where, row) in enumerate(raw)
        ]


def on_side(rows: Sequence[Row], split: str, task: str) -> list[Row]:
    """The rows of a split. Raises NoSplit."""
    upstream.choose_split(split, SPLITS, task)
    return [row for row in rows if row.split == split]


def regrouped(rows: Sequence[Row], group: Callable[[Row], Hashable]) -> list[Row]:
    """The rows with the sides of protocol `grouped`."""
    groups = list(dict.fromkeys(map(group, rows)))
    chosen = permutation(len(groups))[: round(_TRAIN_SHARE * len(groups))]
    train = {groups[index] for index in chosen}
    return [row._replace(split="train" if group(row) in train else "test") for row in rows]


def check_protocol(protocol: str, task: str) -> None:
    """Raise UserError if it is none of PROTOCOLS."""
    upstream.choose(protocol, PROTOCOLS, f"config.task_options.protocol: {task} has no protocol")


def with_overlaps(
    problems: Sequence[Problem],
    training: Sequence[Row],
    shared: Callable[[str], Hashable],
    what: str,
) -> list[Problem]:
    """Test problems with attributes["overlap"]: `WHAT in training` if `shared` of their question
    is that of a training question, else `none`."""
    known = {shared(row.question) for row in training}
    return [
        dataclasses.replace(
            problem,
            attributes=problem.attributes
            | {"overlap": f"{what} in training" if shared(problem.question) in known else "none"},
        )
        for problem in problems
    ]


def read_story(read: Callable[[str], StoryType], row: Row) -> StoryType:
    """The story of a row. Raises UserError if the program cannot read it."""
    try:
        return read(row.question)
    except ValueError as error:
        raise UserError(f"{row.where}: field 'question': {error}: download it from {URL}") from None


def permutation(count: int) -> list[int]:
    """The authors' order of so many rows."""
    return np.random.RandomState(0).permutation(count).tolist()
