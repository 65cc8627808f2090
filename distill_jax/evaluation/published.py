"""Published accuracies of students of GPT-2's size, and how they were measured.

None is a number that is in the paper but that we could not find, or a cell that was not measured.
This project measured nothing here. The protocol says where each number comes from.
"""

import dataclasses
from collections.abc import Mapping, Sequence

ZERO_SHOT = "zero-shot"
FEW_SHOT = "few-shot CoT"
ANSWER_ONLY = "answer only"
GOLD_STEPS = "gold steps"
COT = "teacher's CoT"
DIVERSE = "diverse CoT"
UNIFIED = "Socratic, unified"
ITERATIVE = "Socratic, iterative"
SOCRATIC = "Socratic, variant not stated"
LARGE_TEACHER = "large teacher"
SMALL_TEACHER = "small teacher"


@dataclasses.dataclass(frozen=True)
class Paper:
    """The source of numbers, and how their measurement differs from this project's."""

    title: str
    url: str
    source: str  # where the numbers were read
    protocol: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Result:
    """A student's accuracies in per cent on a task, by method."""

    paper: Paper
    task: str  # the last part of the name of a task module, such as "gsm8k"
    student: str
    accuracies: dict[str, float | None]


SOCRATIC_COT = Paper(
    "Shridhar, Stolfo, Sachan: Distilling Reasoning Capabilities into Smaller Language Models "
    "(Findings of ACL 2023)",
    "arXiv 2212.00193",
    "GPT-2 large: as quoted in table 3 of the paper on DPO-augmented self-training; everything "
    "else was not found",
    (
        "Teacher GPT-3 175B, about 7,000 annotations, kept if the answer is right.",
        "Which Socratic strategy the 21.1 belongs to is not said; gold steps are by people.",
        "Extractor, calculator, selection of the checkpoint, optimiser and seeds are not known.",
    ),
)
FINE_TUNE_COT = Paper(
    "Ho et al.: Large Language Models Are Reasoning Teachers (ACL 2023)",
    "arXiv 2212.10071",
    "the result notebook in the authors' repository, itsnamgyu/reasoning-teacher",
    (
        "The best of 20 epochs was chosen on the test set: such numbers are too high.",
        "Teacher text-davinci-002, zero-shot CoT, 42 % right on GSM8K; only right chains are kept.",
        "The answer is the first number after '-->', or without it the last number; GSM8K "
        "answers are compared as strings, SVAMP ones as numbers within 1e-6.",
        "No calculator, greedy. SVAMP has 300 test problems (a 700/300 split), "
        "StrategyQA 687 (1,603/687).",
        "Diverse CoT: 64 samples of the teacher per problem (SVAMP, MultiArith), 8 elsewhere.",
    ),
)
MIX_DISTILLATION = Paper(
    "Small Models Struggle to Learn from Strong Reasoners (2025)",
    "arXiv 2502.12143",
    "table 2, read in a copy of it",
    (
        "The smallest student there, four times GPT-2 and instruction-tuned before.",
        "The mean over MATH, AMC, GSM8K, Olympiad and AIME: not the accuracy on GSM8K alone.",
        "Trained on 7,500 MATH problems; answers that no rule matches are judged by a "
        "32-billion-parameter model.",
    ),
)

# Students of at most GPT-2's size, of the paper's three families.
SMALL = ("GPT-2 124M", "T5 60M", "T5 220M", "Flan-T5 60M", "Flan-T5 220M")
TRAINED = (ANSWER_ONLY, COT, DIVERSE)  # methods of the paper that train a student

_SIZES = {"124M": "GPT-2 124M", "355M": "GPT-2 medium 355M", "774M": "GPT-2 large 774M"}

# Columns and rows as in the notebook; "-" was not measured.
_TASKS = (
    *("single_eq", "addsub", "multiarith", "gsm8k", "aqua", "svamp"),
    *("date_understanding", "tracking_shuffled_objects", "last_letter_concatenation"),
    *("coin_flip", "commonsense_qa", "strategyqa"),
)
_FINE_TUNE_COT = {
    ZERO_SHOT: """
        124M 0.00 0.00  2.22 0.99 24.02  1.00 18.92 27.56  0.00  6.67 13.76 46.72
        355M 0.66 0.00  3.33 0.15 19.29  1.67  8.11 32.00  0.00 42.67 13.02 44.98
        774M 0.66 0.00  2.78 0.08  1.57  0.00 11.71 36.89  0.00  0.00 15.40 23.29""",
    FEW_SHOT: """
        124M 0.00 0.00  3.33 1.97 18.90  2.00 13.51     -  0.00 44.67 15.15 25.91
        355M 1.32 5.88  2.78 1.29 18.50  3.33  9.91     -  0.00 55.33 19.49 34.93
        774M 1.32 2.52  2.78 0.15  0.79  4.00 13.51     -  0.00 55.33 10.32 38.86""",
    ANSWER_ONLY: """
        124M 5.26 9.24 12.22 2.73 24.80 10.33 27.93 33.78  1.33 60.00 20.88 54.44
        355M 4.61 8.40 12.22 1.59 24.80 12.00 20.72 33.78  2.00 55.33 20.23 54.59
        774M 4.61 5.04 10.56 2.35 26.38 10.00 27.93 34.67  2.67 55.33 21.38 52.98""",
    COT: """
        124M 3.95  5.88 8.33 3.03 22.44  4.33 25.23 38.67  4.67 77.33 22.69 55.75
        355M 5.92 10.92 7.78 2.81 24.41  7.33 25.23 42.22 12.00 83.33 21.70 56.19
        774M 3.95  5.88 8.89 3.03 26.77  6.00 25.23 48.00  7.33 68.67 22.28 53.86""",
    DIVERSE: """
        124M 6.58  5.88 17.78 -   -     10.33 21.62 45.33  6.00 76.00 -     56.33
        355M 6.58 10.08 17.78 -   -     12.33 25.23 51.56 14.00 83.33 -     55.46
        774M 5.92  7.56 17.78 -   -     10.33 23.42 56.89  8.00 82.67 -     55.46""",
}
# Encoder-decoders of the same paper; zero-shot and few-shot were not looked up.
_T5 = {
    ANSWER_ONLY: """
        T5-60M       5.92  8.40 13.89 4.02 29.92 11.33 80.18 94.22 24.67 100 22.11 58.81
        T5-220M      5.92 11.76 15.00 5.00 24.80  8.67 78.38 37.78 44.00 100 51.60 59.24
        Flan-T5-60M  7.24  9.24 16.67 4.93 28.74 10.33 81.08 33.78 39.33 100 45.95 58.95
        Flan-T5-220M 5.26 10.08 16.11 5.08 29.53 10.67 83.78 44.00 45.33 100 63.55 61.14""",
    COT: """
        T5-60M       2.63  5.04  5.56 2.58 24.02 9.33 77.48 40.00 29.33 100   29.48 54.73
        T5-220M      4.61  7.56 10.56 3.18 26.77 7.00 80.18 42.67 47.33 98.67 45.37 55.90
        Flan-T5-60M  6.58  5.88  8.33 2.96 23.23 5.67 80.18 36.00 35.33 100   42.01 54.15
        Flan-T5-220M 4.61  9.24 12.22 4.40 29.13 6.00 83.78 48.89 50.00 100   59.05 59.97""",
    DIVERSE: """
        T5-60M       7.24  7.56 15.00 - -  7.67 81.08 59.11 46.67 100 - 56.04
        T5-220M      5.26 10.08 16.11 - - 10.33 82.88 65.33 60.67 100 - 59.68
        Flan-T5-60M  7.24 10.92 17.22 - - 10.67 84.68 62.22 46.00 100 - 56.04
        Flan-T5-220M 9.21 10.92 21.11 - - 12.33 84.68 67.11 56.67 100 - 60.84""",
}


def results(task: str) -> list[Result]:
    """The published results of a task; [] if there are none."""
    known = _socratic_cot() + _fine_tune_cot(_FINE_TUNE_COT) + _mix() + _fine_tune_cot(_T5)
    return [result for result in known if result.task == task]


@dataclasses.dataclass(frozen=True)
class Best:
    """The best published accuracy of a small student, in per cent."""

    accuracy: float
    student: str
    method: str


def best(task: str, methods: Sequence[str] = TRAINED) -> Best | None:
    """The best of SMALL students of Fine-tune-CoT on a task, by one of `methods`; None if there is
    none. Of equal ones the first."""
    found = [
        Best(accuracy, result.student, method)
        for method in methods
        for result in results(task)
        if result.paper is FINE_TUNE_COT and result.student in SMALL
        if (accuracy := result.accuracies.get(method)) is not None
    ]
    return max(found, key=lambda each: each.accuracy, default=None)


def _socratic_cot() -> list[Result]:
    methods = (ANSWER_ONLY, GOLD_STEPS, COT, UNIFIED, ITERATIVE, SOCRATIC)
    found = {("gsm8k", "774M"): {GOLD_STEPS: 14.1, SOCRATIC: 21.1}}
    return [
        Result(SOCRATIC_COT, task, name, dict.fromkeys(methods) | found.get((task, size), {}))
        for task in ("gsm8k", "svamp", "strategyqa")
        for size, name in _SIZES.items()
    ]


def _fine_tune_cot(tables: Mapping[str, str]) -> list[Result]:
    cells: dict[tuple[str, str], dict[str, float | None]] = {}
    for method, rows in tables.items():
        for row in rows.strip().split("\n"):
            size, *numbers = row.split()
            for task, number in zip(_TASKS, numbers, strict=True):
                known = cells.setdefault((task, size), {})
                known[method] = None if number == "-" else float(number)
    return [
        Result(FINE_TUNE_COT, task, _SIZES.get(size) or _t5_name(size), accuracies)
        for (task, size), accuracies in cells.items()
    ]


def _t5_name(size: str) -> str:
    """ "Flan-T5 60M" for Flan-T5-60M."""
    return " ".join(size.rsplit("-", 1))


def _mix() -> list[Result]:
    accuracies: dict[str, float | None] = {LARGE_TEACHER: 16.9, SMALL_TEACHER: 20.4}
    return [Result(MIX_DISTILLATION, "gsm8k", "Qwen2.5-0.5B-Instruct", accuracies)]
