"""Our own predictions.jsonl as a source of annotations: students can learn from their right
answers.

A row is a problem. Every sample that is right and finished becomes an annotation; the others get a
reason. Students learn exactly their own text: rendered under the scheme in which it was written,
such an annotation is the same dialogue again.
"""

import dataclasses
import re
from typing import Any

from distill_jax import records
from distill_jax.annotations import filters
from distill_jax.annotations.generation import Generation, Malformed, Row
from distill_jax.records import Prediction, Sample, Step, Turn
from distill_jax.text.formats import FORMATS, MARKER
from distill_jax.text.transcript import SCHEMES, parse

_LARGEST = 1e15  # of tokens, and of a log-probability without its sign
KEYS = ("question", "answer", "turns", "prediction", "status")

# The end of a chain's step: a line with text, and another one after it.
_NEXT_LINE = re.compile(r"(?<=\S)\n(?=.*\S)")


def generations(row: Row) -> list[Generation]:
    """One per sample of a prediction, in their order.

    Their source is {"kind": "student", "run" if the row has it, "sample": the place among those of
    the problem, "answered_by" if the sample says so, "tokens", "log_probability"}. Objections:
    "wrong answer", "not finished", "no answer" and "answer mark in a step", which would end a
    dialogue early.

    Raises Malformed if the row is not a prediction.
    """
    prediction = read_prediction(row)
    samples = prediction.samples or (prediction,)
    source = {"kind": "student"} | ({"run": row["run"]} if "run" in row else {})
    return [
        _generation(prediction, sample, candidate, source | {"sample": place})
        for place, (sample, candidate) in enumerate(
            zip(samples, filters.candidates_of(prediction), strict=True)
        )
    ]


def _generation(
    prediction: Prediction,
    sample: Prediction | Sample,
    candidate: filters.Candidate,
    source: dict[str, Any],
) -> Generation:
    steps = _steps(sample.turns, sample.prediction)
    reason = filters.objection(candidate, (filters.finished, filters.right))
    if sample.answered_by:
        source |= {"answered_by": sample.answered_by}
    source |= {"tokens": candidate.tokens, "log_probability": candidate.log_probability}
    objection = None
    if reason is not None:
        detail = f"status {sample.status}, {sample.prediction!r} for {prediction.answer!r}"
        objection = reason, detail
    elif any(MARKER in step.solution for step in steps):
        objection = "answer mark in a step", f"{MARKER} is not only before the answer"
    return Generation(
        prediction.question,
        sample.completion,
        sample.prediction,
        steps,
        source=source,
        objection=objection,
    )


def _steps(turns: tuple[Turn, ...], answer: str | None) -> tuple[Step, ...]:
    """The steps of a dialogue, or the lines of a chain, without the mark and the answer.

    A chain with only the answer (answer_only) has no steps.
    """
    solutions = [turn.text for turn in turns if turn.role == "solver"]
    last = solutions[-1] if solutions else ""
    written = next((each for each in FORMATS.values() if each.before_answer in last), None)
    socratic = any(turn.role == "decomposer" for turn in turns)
    scheme = SCHEMES["socratic" if socratic else "chain"]
    if written is not None:
        scheme = dataclasses.replace(scheme, text_format=written)
    steps, _ = parse([(turn.role, turn.text) for turn in turns], scheme)
    if socratic:
        return steps
    text = "\n".join(step.solution for step in steps)
    if text.removeprefix(MARKER).strip() in ("", answer):
        return ()
    return tuple(Step(None, line) for line in _NEXT_LINE.split(text))


def read_prediction(row: Row) -> Prediction:
    """The prediction of a row. Raises Malformed if the row holds something else."""
    try:
        prediction = records.prediction_from_dict(row)
    except (TypeError, AttributeError) as error:  # turns or samples of a wrong type
        raise Malformed(f"not a prediction: {error}") from None
    for each in (prediction, *prediction.samples):
        texts = [
            each.completion,
            each.status,
            each.answered_by,
            *(turn.text for turn in each.turns),
        ]
        numbers = [value for turn in each.turns for value in (turn.tokens, turn.log_probability)]
        if not all(isinstance(text, str) for text in (*texts, prediction.question)):
            raise Malformed("not a prediction: a completion, status or text of a turn is not text")
        # Not isfinite(), which raises for an integer of 400 digits; NaN is not between any two.
        if not all(isinstance(n, int | float) and abs(n) < _LARGEST for n in numbers):
            raise Malformed("not a prediction: tokens or log_probability of a turn is not a number")
        if not isinstance(each.prediction, str | None):
            raise Malformed("not a prediction: field 'prediction' is neither text nor null")
    return prediction
