"""Compares the decomposer's subquestions with those of the gold annotations."""

from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction

Pairs = list[tuple[list[str], list[str]]]  # (written, gold) subquestions of each problem


def question_pairs(predictions: Sequence[Prediction], gold: Mapping[str, Annotation]) -> Pairs:
    """The pairs of the problems that have gold subquestions (`gold` by id); [] if no decomposer
    wrote.

    Empty turns, with which a decomposer ends a dialogue, are not questions.
    """
    if not any(turn.role == "decomposer" for p in predictions for turn in p.turns):
        return []
    pairs = [
        (written_questions(p), gold_questions(gold[p.id])) for p in predictions if p.id in gold
    ]
    return [(written, wanted) for written, wanted in pairs if wanted]


def question_counts(pairs: Pairs) -> dict[str, Any]:
    """How many questions were asked; there must be a pair.

    n                problems
    mean             subquestions per problem
    mean_difference  of their number: written minus gold, mean over problems
    share_equal      of problems with as many as gold
    """
    differences = [len(written) - len(wanted) for written, wanted in pairs]
    n = len(pairs)
    return {
        "n": n,
        "mean": sum(len(written) for written, _ in pairs) / n,
        "mean_difference": sum(differences) / n,
        "share_equal": differences.count(0) / n,
    }


def corpus_bleu(pairs: Pairs) -> float:
    """Corpus BLEU, 0 to 100, of (written, gold) subquestions.

    All questions of a problem are one segment, as in 2211.12835, so that a missing one shortens
    it instead of shifting the others. sacrebleu's defaults (13a tokens, mixed case, exponential
    smoothing). Raises UserError if sacrebleu is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise UserError(
            "sacrebleu is not installed: pip install 'distill-jax[eval]' for BLEU of subquestions"
        ) from None
    segments = [" ".join(written) for written, _ in pairs]
    return sacrebleu.corpus_bleu(segments, [[" ".join(wanted) for _, wanted in pairs]]).score


def written_questions(prediction: Prediction) -> list[str]:
    """The decomposer's questions, in order."""
    turns = [turn.text.strip() for turn in prediction.turns if turn.role == "decomposer"]
    return [text for text in turns if text]


def gold_questions(annotation: Annotation) -> list[str]:
    """The subquestions of an annotation, in order; [] if it has none."""
    return [step.subquestion for step in annotation.steps if step.subquestion is not None]
