"""StrategyQA (Geva et al. 2021): yes/no questions whose reasoning steps are implicit.

A row of train.json (without description and evidence):

    {"qid": "a1", "term": "Giraffe", "question": "Could a giraffe look into a third floor?",
     "answer": false, "facts": ["Giraffes are at most 6 m tall.", "A third floor is 7 m high."],
     "decomposition": ["How tall are giraffes?", "How high is a third floor?",
     "Is #1 greater than #2?"]}

and what becomes of it with gold="facts" (all 2,290 rows have facts):

    steps=(Step(None, "Giraffes are at most 6 m tall."), Step(None, "A third floor is 7 m high."))

and with gold="decomposition", which has subquestions:

    steps=(
        Step("How tall are giraffes?", "Giraffes are at most 6 m tall."),
        Step("How high is a third floor?", "A third floor is 7 m high."),
        Step("Is #1 greater than #2?", "No."),
    )

The data gives the facts that a question needs, but not which fact belongs to which step, and often
has them in another order. So a row becomes steps only where
- it has one fact per step but the last (883 of the 2,290 rows),
- the last step is a yes/no question, whose answer is then the row's (868 of these),
- the words tell which fact belongs where: one order of the facts shares more words with the steps
  than every other, and every step shares a word with its fact (676 of these).
All other rows have no such annotation. Of 60 of the 676 that were drawn at random and read, 58 pair
every step with a fact that bears on it. `#1` stays as it is: it means the answer to the first step,
which the dialogue shows, and a whole fact reads badly in its place.

Two protocols are in use; `splits/` holds the qids of their test questions:

- official: train.json is for training (2,061), dev.json for tests (229). The test questions of the
  authors' leaderboard have no public answers.
- ho: 1,603 and 687 questions, the split of Ho et al. (2022, https://arxiv.org/abs/2212.10071).
  Their file holds places in BIG-bench's order; the qids were found by the questions' text. One
  question has two qids, one in training and one in test there: here the test set keeps it once
  (which of the two cannot be told) and training loses it, which leaves 1,602 and 687.

Source: https://github.com/eladsegal/strategyqa (MIT), on the Hub `tasksource/strategy-qa`.
"""

import itertools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem, Step, refuse_duplicates
from distill_jax.tasks import upstream
from distill_jax.tasks.gold import with_gold
from distill_jax.tasks.grading import grade_yes_no, read_yes_no

SPLITS = ("train", "test")
PROTOCOLS = ("official", "ho")
GOLD = ("facts", "decomposition")
URL = "https://github.com/eladsegal/strategyqa/tree/main/data/strategyqa"

LICENCES = {"StrategyQA": "MIT, the licence of its repository"}

_Row = tuple[Problem, str, dict[str, Any]]  # (problem, place to name in an error, raw row)

_FILES = f"train.json and dev.json from {URL}"
_MOST_FACTS = 6  # 720 orders; no row has more than 5
_YES_NO_QUESTION = re.compile(
    r"(?:is|are|was|were|do|does|did|can|could|will|would|should|has|have|had|must|may|might)\b",
    re.IGNORECASE,
)
# Words of four letters and more that tell nothing about what a question is about.
_COMMON = re.compile(
    "about|also|been|being|between|common|commonly|does|have|into|kind|known|made|make|many|most|"
    "much|name|some|than|that|their|then|there|they|this|type|used|were|what|when|where|which|with"
)


def load(
    split: str,
    *,
    directory: str = "",
    hub_id: str = "tasksource/strategy-qa",
    protocol: str = "official",
    gold: str = "facts",
) -> list[Problem]:
    """The problems of a split, from train.json and dev.json in `directory` or else from the Hub.

    Answers are yes and no. attributes: "term" is what the question was written about, "steps" the
    length of its decomposition, where the data has one. The Hub's own splits are not looked at:
    the qids decide; `gold` is that of `load_annotations`, if this can be read. Raises UserError for
    an unknown split, protocol or gold, for a file or row that is missing or malformed, and where
    test questions of the protocol are missing.
    """
    upstream.choose(gold, GOLD, "config.task_options.gold: strategyqa has no gold")
    rows = _rows(split, directory, hub_id, protocol)
    return with_gold([problem for problem, _, _ in rows], lambda: _gold(rows, gold))


def load_annotations(
    split: str,
    *,
    directory: str = "",
    hub_id: str = "tasksource/strategy-qa",
    protocol: str = "official",
    gold: str = "facts",
) -> list[Annotation]:
    """The gold annotations of a split; see above for `gold` and which rows have one.

    Facts have no subquestions: they are for --config.scheme=chain. Raises UserError as `load`
    does, and where the data has no facts, or no decomposition.
    """
    upstream.choose(gold, GOLD, "config.task_options.gold: strategyqa has no gold")
    return _gold(_rows(split, directory, hub_id, protocol), gold)


def grade(completion: str, answer: str) -> Grade:
    """Compare yes and no; see `grade_yes_no` for the scores."""
    return grade_yes_no(completion, answer)


def read_answer(text: str) -> str | None:
    """The yes or no that a completion ends with."""
    return read_yes_no(text)


def _gold(rows: Sequence[_Row], gold: str) -> list[Annotation]:
    annotations = []
    for problem, where, row in rows:
        facts = _texts(row, "facts", where)
        steps = tuple(Step(None, fact) for fact in facts)
        if gold == "decomposition":
            steps = _aligned(_texts(row, "decomposition", where), facts, problem.answer)
        if steps:
            annotations.append(
                Annotation(problem.id, problem.question, problem.answer, steps, {"kind": "gold"})
            )
    return annotations


def _rows(split: str, directory: str, hub_id: str, protocol: str) -> list[_Row]:
    """The rows of a split."""
    upstream.choose_split(split, SPLITS, "strategyqa")
    upstream.choose(protocol, PROTOCOLS, "config.task_options.protocol: strategyqa has no protocol")
    if directory:
        folder = upstream.folder(directory, _FILES)
        raw = [*upstream.json_rows(folder / "train.json", URL)]
        raw += upstream.json_rows(folder / "dev.json", URL)
    else:
        raw = upstream.hub_rows(hub_id, _FILES)
    rows = [(_problem(row, where, split), where, row) for where, row in raw]
    source = directory or hub_id
    refuse_duplicates([problem for problem, _, _ in rows], source)
    test_ids = _test_ids(protocol)
    test = [row for row in rows if row[0].id in test_ids]
    if len(test) < len(test_ids):
        raise UserError(
            f"{source}: {len(test_ids) - len(test)} of the {len(test_ids)} test questions of "
            f"protocol {protocol!r} are not there: take {_FILES}"
        )
    if split == "test":
        return test
    asked = {problem.question for problem, _, _ in test}
    return [row for row in rows if row[0].question not in asked]


def _test_ids(protocol: str) -> set[str]:
    path = pathlib.Path(__file__).parent / "splits" / f"strategyqa_{protocol}_test.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return {f"strategyqa/{line}" for line in lines if not line.startswith("#")}


def _problem(row: dict[str, Any], where: str, split: str) -> Problem:
    qid, term, question = (
        upstream.text_field(row, field, where, URL) for field in ("qid", "term", "question")
    )
    if not isinstance(row.get("answer"), bool):
        raise UserError(
            f"{where}: field 'answer' is neither true nor false: download it from {URL}"
        )
    attributes: dict[str, Any] = {"term": term}
    if row.get("decomposition") is not None:
        attributes["steps"] = len(_texts(row, "decomposition", where))
    answer = "yes" if row["answer"] else "no"
    return Problem(f"strategyqa/{qid}", question, answer, split, attributes)


def _texts(row: dict[str, Any], field: str, where: str) -> list[str]:
    texts = row.get(field)
    if (
        not isinstance(texts, list)
        or not texts
        or not all(isinstance(text, str) and text.strip() for text in texts)
    ):
        raise UserError(
            f"{where}: field {field!r} is missing or not a list of texts: set "
            f"--config.task_options.directory to a folder with {_FILES}"
        )
    return [" ".join(text.split()) for text in texts]  # some have double spaces


def _aligned(decomposition: Sequence[str], facts: Sequence[str], answer: str) -> tuple[Step, ...]:
    """Each subquestion with the fact that answers it, or () where that cannot be told."""
    *questions, last = decomposition
    if len(questions) != len(facts) or not 0 < len(facts) <= _MOST_FACTS:
        return ()
    if not _YES_NO_QUESTION.match(last):
        return ()
    shared = [[len(_words(question) & _words(fact)) for fact in facts] for question in questions]
    orders = [
        (sum(row[fact] for row, fact in zip(shared, order, strict=True)), order)
        for order in itertools.permutations(range(len(facts)))
    ]
    orders.sort(reverse=True)
    best = orders[0][1]
    if len(orders) > 1 and orders[0][0] == orders[1][0]:
        return ()
    if not all(row[fact] for row, fact in zip(shared, best, strict=True)):
        return ()
    steps = [Step(question, facts[fact]) for question, fact in zip(questions, best, strict=True)]
    return (*steps, Step(last, f"{answer.capitalize()}."))


def _words(text: str) -> set[str]:
    """Numbers and the first five letters of words, so that `giraffes` is `giraffe`."""
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {
        word[:5]
        for word in found
        if word.isdigit() or (len(word) > 3 and not _COMMON.fullmatch(word))
    }
