"""The records that travel between stages, one JSON line each. Field names are public API."""

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from distill_jax.errors import UserError

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One reasoning step. `subquestion` is None if a source gives plain steps."""

    subquestion: str | None
    solution: str


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """A problem solved step by step, by the data set itself or by a teacher."""

    id: str
    question: str
    answer: str
    steps: tuple[Step, ...]
    # {"kind": "gold" | "teacher" | "imported" | "student" | "segments", ...}
    source: dict[str, Any]

    @property
    def origin(self) -> str:
        """Its source, in a word: the file, or else the teacher, or else "gold"."""
        return self.source.get("file") or self.source.get("model") or self.source["kind"]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A question with its known answer. `answer` is one line: a number as text, yes/no, or text."""

    id: str  # e.g. "gsm8k/test/17"
    question: str
    answer: str
    split: str
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    # How the data itself solves it; its answer is that of its steps, and may differ.
    gold: Annotation | None = None


@dataclasses.dataclass(frozen=True)
class Turn:
    """What one role wrote before it passed the turn, as the sampler returned it."""

    role: str
    text: str
    tokens: int  # that it chose: with the end-of-turn or end-of-text token, without a header
    log_probability: float  # natural log, summed over those tokens
    # Sums over those tokens, too; None of a teacher, and in files that are older than these fields.
    entropy: float | None = None  # nats of the distribution that the token is from
    margin: float | None = None  # probability of the most likely token minus that of the second


ENDED = ("finished", "unparsed")  # statuses of dialogues that no limit cut off


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of an answer, over everyone who was asked.

    Costs add up: those of samples to that of their vote, those of problems to that of a report.
    """

    prompt_tokens: int = 0  # of the prompts that were read; two students read two
    tokens: int = 0  # that were written, including end marks and given ones
    flops: int = 0  # floating point operations of matrix products, as we count them (model/flops)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.prompt_tokens + other.prompt_tokens,
            self.tokens + other.tokens,
            self.flops + other.flops,
        )


@dataclasses.dataclass(frozen=True)
class Sample:
    """One of several transcripts for a problem, graded. Fields are named as in Prediction."""

    index: int  # from 0, in the order in which they were drawn
    completion: str
    turns: tuple[Turn, ...]
    prediction: str | None
    correct: bool
    scores: dict[str, bool]
    status: str
    log_probability: float  # natural log, summed over the tokens of all turns
    tokens: int  # of all turns
    answered_by: str = ""
    cost: Cost = Cost()


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A student's transcript for one problem, graded.

    If several samples were drawn, the fields are those of the sample that represents the majority's
    answer (dialogues/votes.py).
    """

    id: str
    question: str
    answer: str
    completion: str
    turns: tuple[Turn, ...]
    prediction: str | None  # normalised final answer, None if none could be read
    correct: bool  # the headline: normalised scores
    scores: dict[str, bool]  # strict, flexible, fine_tune_cot, normalised (tasks/grading.py)
    status: str  # finished | turn_cap | token_cap | context | prompt_too_long | unparsed
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    samples: tuple[Sample, ...] = ()  # all of them, or () if only one was drawn
    answered_by: str = ""  # who gave this answer: "students", or a member of several answerers
    cost: Cost = Cost()  # of all samples, and of everyone who was asked before
    trained_on: str = ""  # the annotation with this question that the students learned from


@dataclasses.dataclass(frozen=True)
class Grade:
    """What a task's `grade(completion, answer)` returns."""

    prediction: str | None  # the normalised final answer, None if none could be read
    scores: dict[str, bool]  # one entry per extractor; "normalised" is the headline


def to_json(record: Any) -> str:
    """One line of JSON for any record of this module (no newline at the end)."""
    return _ENCODER.encode(record)


@functools.cache
def _field_names(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record))


# The same as of dataclasses.asdict(record), which copies all of it first: a fifth of the time.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    default=lambda record: {name: getattr(record, name) for name in _field_names(type(record))},
)


def problem_from_dict(row: dict[str, Any]) -> Problem:
    """Build a Problem from parsed JSON; raises KeyError on a missing field other than "gold"."""
    names = ("id", "question", "answer", "split", "attributes")
    gold = row.get("gold") and annotation_from_dict(row["gold"])
    return Problem(**{name: row[name] for name in names}, gold=gold)


def annotation_from_dict(row: dict[str, Any]) -> Annotation:
    """Build an Annotation from parsed JSON; raises KeyError on a missing field."""
    steps = tuple(Step(step["subquestion"], step["solution"]) for step in row["steps"])
    return Annotation(row["id"], row["question"], row["answer"], steps, row["source"])


def prediction_from_dict(row: dict[str, Any]) -> Prediction:
    """Build a Prediction from parsed JSON.

    Raises KeyError on a missing field other than "samples" and "trained_on", TypeError on an
    unknown field inside "samples" and on costs that are not whole numbers from 0.
    """
    # Rows may be older than these fields.
    row = {"samples": (), "trained_on": "", **row}
    fields = {f.name: row[f.name] for f in dataclasses.fields(Prediction)}
    samples = tuple(
        Sample(**{**s, "turns": _turns(s["turns"]), "cost": _cost(s["cost"])})
        for s in row["samples"]
    )
    more = {"turns": _turns(row["turns"]), "samples": samples, "cost": _cost(row["cost"])}
    return Prediction(**{**fields, **more})


def _cost(row: dict[str, Any]) -> Cost:
    cost = Cost(**row)
    for name, value in dataclasses.asdict(cost).items():
        if type(value) is not int or value < 0:
            raise TypeError(f"cost.{name}={value!r}: a whole number from 0 is expected")
    return cost


def _turns(rows: Iterable[dict[str, Any]]) -> tuple[Turn, ...]:
    return tuple(Turn(**row) for row in rows)


def read_json_lines(
    path: str | pathlib.Path, *, mend: bool = False
) -> list[tuple[int, dict[str, Any]]]:
    """All rows of a JSON-lines file, as `json_lines` gives them one by one."""
    return list(json_lines(path, mend=mend))


def json_lines(
    path: str | pathlib.Path, *, mend: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSON-lines file as (line number from 1, object); blank lines are skipped.

    Holds one line at a time. Raises UserError, which names file and line, if a line is not a JSON
    object, and if the file is missing or not UTF-8. Half a surrogate pair, which JSON can spell and
    UTF-8 cannot, is refused too, or becomes `?` with `mend`.
    """
    path = pathlib.Path(path)
    # Lines of a file, not splitlines(): U+2028 and the like may stand inside a JSON string.
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            column = f"column {error.colno}"
            raise UserError(f"{path}:{number}: not JSON ({error.msg}, {column})") from None
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 5,000 brackets
            raise UserError(f"{path}:{number}: JSON that cannot be read ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: a JSON object is expected, not {type(row).__name__}")
        if mend:
            row = without_half_pairs(row)
        elif _HALF_PAIR.search(line):  # or a whole one
            refuse_half_pairs(row, f"{path}:{number}")
        yield number, row


def count_lines(path: str | pathlib.Path) -> int:
    """How many lines a file has, about: for a bar. 0 if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return sum(part.count(b"\n") for part in iter(lambda: file.read(2**20), b""))
    except OSError:
        return 0


def _lines(path: pathlib.Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:  # a byte order mark is read over
            for line in file:
                yield line.rstrip("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        # It says where in the piece that was being read: of all the bytes it is asked again.
        try:
            path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8") from None
        raise


def read_annotations(path: pathlib.Path) -> list[Annotation]:
    """The annotations of a file that this project wrote, as `annotations_in` gives them."""
    return list(annotations_in(path))


def annotations_in(path: pathlib.Path) -> Iterator[Annotation]:
    """The annotations of a file that this project wrote, one by one. Raises UserError as
    `json_lines` does, and for a row that is none."""
    for number, row in json_lines(path):
        try:
            yield annotation_from_dict(row)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{path}:{number}: not an annotation ({error}): put back a copy of the file"
            ) from None


def shorten(text: str, characters: int = 50) -> str:
    """The beginning of `text` for messages, long enough to find it."""
    return text if len(text) <= characters else text[:characters] + "..."


def without_half_pairs(value: Any) -> Any:
    """Parsed JSON with `?` for every half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [without_half_pairs(each) for each in value]
    if isinstance(value, dict):
        return {without_half_pairs(key): without_half_pairs(each) for key, each in value.items()}
    return value


def refuse_half_pairs(value: Any, where: str) -> None:
    """Raise UserError, which begins with `where`, if parsed JSON holds half a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise UserError(
            f"{where}: {half} is half a character (a surrogate without the other one): remove it"
        ) from None


def refuse_duplicates(records: Iterable[Any], where: str) -> None:
    """Raise UserError naming the first id that occurs twice."""
    seen = set()
    for record in records:
        if record.id in seen:
            raise UserError(f"{where}: id {record.id!r} occurs twice: ids must be unique")
        seen.add(record.id)
