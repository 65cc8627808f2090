"""GSM8K (Cobbe et al. 2021): grade-school word problems, with gold Socratic annotations.

A row of train_socratic.jsonl (made up and wrapped; train.jsonl has the same without `... ** `):

    {"question": "Ann has 3 bags with 4 apples each. She eats 2 apples. How many are left?",
     "answer": "How many apples does Ann have? ** Ann has 3*4 = <<3*4=12>>12 apples.\\nHow many are
                left? ** There are 12-2 = <<12-2=10>>10 left.\\n#### 10"}

and what becomes of it:

    Annotation(
        id="gsm8k/train/0",
        question="Ann has 3 bags with 4 apples each. She eats 2 apples. How many are left?",
        answer="10",
        steps=(
            Step("How many apples does Ann have?", "Ann has 3*4 = <<3*4=12>>12 apples."),
            Step("How many are left?", "There are 12-2 = <<12-2=10>>10 left."),
        ),
        source={"kind": "gold"},
    )

Source: https://github.com/openai/grade-school-math (MIT), on the Hub `openai/gsm8k`.
"""

from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Grade, Problem, Step, read_json_lines
from distill_jax.tasks.gold import with_gold
from distill_jax.tasks.grading import grade_number, read_number
from distill_jax.tasks.upstream import choose_split, folder, text_field
from distill_jax.text.formats import MARKER
from distill_jax.tracking import progress

SPLITS = ("train", "test")
URL = "https://github.com/openai/grade-school-math/tree/master/grade_school_math/data"

LICENCES = {"GSM8K": "MIT; its subquestions were written by a model of OpenAI"}

_FILES = "train.jsonl, test.jsonl, train_socratic.jsonl and test_socratic.jsonl"


def load(split: str, *, directory: str = "", hub_id: str = "openai/gsm8k") -> list[Problem]:
    """The problems of a split, from the upstream files in `directory` or else from the Hub.

    attributes["steps"] is the number of steps of the gold solution; `gold` is that of
    `load_annotations`, if this can be read. Raises UserError for an unknown split, and for a file
    or row that is missing or malformed.
    """
    problems = _problems(split, directory, hub_id)
    return with_gold(problems, lambda: _gold(split, directory, hub_id, len(problems)))


def load_annotations(
    split: str, *, directory: str = "", hub_id: str = "openai/gsm8k"
) -> list[Annotation]:
    """The gold Socratic annotations of a split; ids are those of `load`, in the same order.

    The subquestions were written by a model of OpenAI, the solutions by people. Calculator marks
    (`<<48/2=24>>`) are kept; steps without solution are dropped (upstream has 4 in train and 2 in
    test, where the plain solution has an empty line). Raises UserError as `load` does, and where
    the plain and the socratic data differ in their number of rows.
    """
    return _gold(split, directory, hub_id, len(_rows(split, "main", directory, hub_id)))


def grade(completion: str, answer: str) -> Grade:
    """Compare numbers; see `grade_number` for the scores."""
    return grade_number(completion, answer)


def read_answer(text: str) -> str | None:
    """The number that a completion ends with."""
    return read_number(text)


def _problems(split: str, directory: str, hub_id: str) -> list[Problem]:
    problems = []
    for index, (where, row) in enumerate(_rows(split, "main", directory, hub_id)):
        steps, answer = _parts(row, where)
        question = text_field(row, "question", where, URL)
        attributes = {"steps": len(steps)}
        problems.append(Problem(f"gsm8k/{split}/{index}", question, answer, split, attributes))
    return problems


def _gold(split: str, directory: str, hub_id: str, problems: int) -> list[Annotation]:
    rows = _rows(split, "socratic", directory, hub_id)
    if len(rows) != problems:
        raise UserError(
            f"{directory or hub_id}: {problems} {split} problems but {len(rows)} socratic rows: "
            f"take both from one release ({URL})"
        )
    annotations = []
    for index, (where, row) in enumerate(rows):
        lines, answer = _parts(row, where)
        steps = tuple(step for line in lines if (step := _step(line, where)).solution)
        if not steps:
            raise UserError(f"{where}: no step before `{MARKER}`: download it from {URL}")
        question = text_field(row, "question", where, URL)
        annotations.append(
            Annotation(f"gsm8k/{split}/{index}", question, answer, steps, {"kind": "gold"})
        )
    return annotations


def _rows(split: str, name: str, directory: str, hub_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The raw rows of "main" or "socratic", each with the place to name in an error."""
    choose_split(split, SPLITS, "gsm8k")
    if not directory:
        rows = _hub_rows(split, name, hub_id)
        return [(f"{hub_id} ({name}, {split}) row {i}", row) for i, row in enumerate(rows)]
    path = folder(directory, _FILES) / f"{split}{'' if name == 'main' else '_socratic'}.jsonl"
    try:
        return [(f"{path}:{number}", row) for number, row in read_json_lines(path)]
    except UserError as error:
        raise UserError(f"{error}: download it from {URL}") from None


def _hub_rows(split: str, name: str, hub_id: str) -> list[dict[str, Any]]:
    import datasets  # takes seconds, and is not needed with a directory

    progress.asks_the_hub(f"{hub_id} ({name})")
    try:
        return datasets.load_dataset(hub_id, name, split=split).to_list()
    except Exception as error:  # the network, the Hub, the cache and pyarrow each have their own
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(
            f"{hub_id} ({name}, {split}): cannot be loaded ({reason}): check the name and the "
            f"network, or set --config.task_options.directory to a folder with {_FILES}"
        ) from error


def _parts(row: dict[str, Any], where: str) -> tuple[list[str], str]:
    """The solution's lines and the final answer."""
    *lines, last = text_field(row, "answer", where, URL).split("\n")
    answer = last.removeprefix(MARKER).strip().replace(",", "")
    if not last.startswith(MARKER) or not answer:
        raise UserError(
            f"{where}: field 'answer' does not end with a line `{MARKER} N`: download it from {URL}"
        )
    return [line for line in lines if line.strip()], answer


def _step(line: str, where: str) -> Step:
    parts = line.split(" ** ")
    if len(parts) != 2:
        raise UserError(
            f"{where}: not `subquestion ** solution`: {line[:60]!r}: download it from {URL}"
        )
    return Step(parts[0].strip(), parts[1].strip())
