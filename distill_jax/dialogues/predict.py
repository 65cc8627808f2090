"""Let the students answer problems, and grade what they wrote."""

from collections.abc import Callable, Mapping, Sequence

from distill_jax.dialogues.given import Script, ended_in_given
from distill_jax.dialogues.sampler import Sampler
from distill_jax.dialogues.votes import combine
from distill_jax.errors import UserError
from distill_jax.records import Grade, Prediction, Problem, Turn
from distill_jax.sampling.dialogues import Dialogue, Request
from distill_jax.sampling.generate import OnLook
from distill_jax.sampling.schedule import Work
from distill_jax.text import transcript
from distill_jax.text.rows import encode_prompts
from distill_jax.text.tokenizer import Tokenizer

NOTHING_KNOWN: Mapping[tuple[str, int], Prediction] = {}


def predict(
    problems: Sequence[tuple[Problem, Script]],
    sampler: Sampler,
    grade: Callable[[str, str], Grade],
    *,
    max_too_long_share: float,
    known: Mapping[tuple[str, int], Prediction] = NOTHING_KNOWN,
    on_prediction: Callable[[int, int, Prediction, int], None] = lambda n, s, prediction, f: None,
    on_chunk: Callable[[], None] = lambda: None,
    on_look: OnLook | None = None,
) -> tuple[list[Prediction], Work]:
    """A graded prediction for every problem, in order; with several samples the vote of them.

    problems       each with its script (sampling/plan.py), () = nothing is given
    known          single predictions by (id, sample) that are not asked for again
    on_prediction  told (number of the problem, sample, prediction, values that the calculator
                   filled in) as they come, in no order
    on_look        see `generate.generate`

    A question that does not fit the context counts as wrong, status `prompt_too_long`. Raises
    UserError where more than `max_too_long_share` of the questions do not fit.
    """
    prompts = check_prompts(
        [problem for problem, _ in problems], sampler.scheme, sampler.tokenizer,
        sampler.plan.context, max_too_long_share,
    )  # fmt: skip
    singles = dict(known)
    every = range(sampler.settings.samples)
    requests = [
        Request(problem.id, prompt, tuple(s for s in every if (problem.id, s) not in known), script)
        for (problem, script), prompt in zip(problems, prompts, strict=True)
    ]

    def on_dialogue(number: int, sample: int, dialogue: Dialogue) -> None:
        problem, script = problems[number]
        prediction = grade_dialogue(problem, dialogue, sampler, grade, script)
        singles[problem.id, sample] = prediction
        on_prediction(number, sample, prediction, dialogue.filled_in)

    _, work = sampler.run(requests, on_dialogue, on_chunk, on_look)
    predictions = [[singles[problem.id, s] for s in every] for problem, _ in problems]
    return [combine(each) for each in predictions], work


def check_prompts(
    problems: Sequence[Problem],
    scheme: transcript.Scheme,
    tokenizer: Tokenizer,
    context: int,
    max_too_long_share: float,
) -> list[list[int]]:
    """The prompt of every problem; UserError where too large a share exceeds the context."""
    prompts = encode_prompts([problem.question for problem in problems], scheme, tokenizer)
    too_long = sum(len(prompt) > context for prompt in prompts)
    if too_long > max_too_long_share * len(problems):
        raise UserError(
            f"{too_long} of {len(problems)} questions are longer than the context of "
            f"{context} tokens: raise config.model.<student>.context, or "
            "config.evaluation.max_too_long_share to count them as wrong"
        )
    return prompts


def written_turns(dialogue: Dialogue, sampler: Sampler) -> tuple[Turn, ...]:
    """The turns of a dialogue as text."""
    return tuple(
        Turn(
            sampler.scheme.roles[turn.role],
            sampler.tokenizer.decode(turn.tokens),
            turn.written,
            turn.log_probability,
        )
        for turn in dialogue.turns
    )


def grade_dialogue(
    problem: Problem,
    dialogue: Dialogue,
    sampler: Sampler,
    grade: Callable[[str, str], Grade],
    script: Script = (),
) -> Prediction:
    """Grade the last solution of a dialogue: what came before it is not looked at.

    The status becomes `unparsed` where the dialogue was finished but no answer can be read. A
    dialogue that was stopped in what its `script` gives has no answer, whatever was given.
    """
    turns = written_turns(dialogue, sampler)
    solutions = [turn.text for turn in turns if turn.role == "solver"]
    if ended_in_given(script, turns, dialogue.status, sampler.plan):
        solutions = []
    graded = grade(transcript.answer_text(solutions, sampler.scheme), problem.answer)
    status = dialogue.status
    if status == "finished" and graded.prediction is None:
        status = "unparsed"
    return Prediction(
        id=problem.id,
        question=problem.question,
        answer=problem.answer,
        completion=transcript.completion_text([(turn.role, turn.text) for turn in turns]),
        turns=turns,
        prediction=graded.prediction,
        correct=graded.scores["normalised"],
        scores=graded.scores,
        status=status,
        attributes=problem.attributes,
    )
