"""Let the students answer problems, and grade what they wrote."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.model import gpt2
from distill_jax.records import Grade, Prediction, Problem, Turn
from distill_jax.sampling import decode, generate
from distill_jax.text import transcript
from distill_jax.text.rows import View, prompt_tokens
from distill_jax.text.tokenizer import Tokenizer


def make_plan(
    scheme: transcript.Scheme,
    views: Sequence[View],
    models: Mapping[str, gpt2.GPT2Config],
    tokenizer: Tokenizer,
    *,
    max_turns: int,
    max_turn_tokens: int,
    max_tokens: int,
) -> decode.DialoguePlan:
    """The sampler's plan of a scheme: roles become indices, text becomes ids.

    A lone role cannot pass the turn: it ends the text instead.
    """
    several = len(scheme.roles) > 1
    return decode.DialoguePlan(
        views=tuple(
            decode.ViewPlan(
                view.student, models[view.student], tuple(r in view.sees for r in scheme.roles)
            )
            for view in views
        ),
        role_view=tuple(
            next(i for i, view in enumerate(views) if role in view.writes)
            for role in range(len(scheme.roles))
        ),
        may_pass=(several,) * len(scheme.roles),
        may_end=tuple(role == scheme.ender for role in scheme.roles),
        end_of_turn=tokenizer.end_of_turn,
        end_of_text=tokenizer.end_of_text,
        vocab_size=tokenizer.size,
        max_turns=max_turns,
        max_turn_tokens=max_turn_tokens,
        max_tokens=max_tokens,
    )


def predict(
    problems: Sequence[Problem],
    scheme: transcript.Scheme,
    tokenizer: Tokenizer,
    plan: decode.DialoguePlan,
    params: dict[str, Any],
    grade: Callable[[str, str], Grade],
    *,
    seed: int,
    temperature: float,
    batch_size: int,
    max_too_long_share: float,
    on_batch: Callable[[int], None] = lambda done: None,
) -> list[Prediction]:
    """A graded prediction for every problem, in order.

    A question that does not fit the context counts as wrong, status `prompt_too_long`. Raises
    UserError where more than `max_too_long_share` of the questions do not fit.
    """
    prompts = check_prompts(problems, tokenizer, plan.context, max_too_long_share)
    dialogues = generate.generate(
        plan,
        params,
        prompts,
        generate.prompt_keys(seed, [problem.id for problem in problems]),
        batch_size=batch_size,
        temperature=temperature,
        on_batch=on_batch,
    )
    return [
        grade_dialogue(problem, dialogue, scheme, tokenizer, grade)
        for problem, dialogue in zip(problems, dialogues, strict=True)
    ]


def check_prompts(
    problems: Sequence[Problem], tokenizer: Tokenizer, context: int, max_too_long_share: float
) -> list[list[int]]:
    """The prompt of every problem; UserError where too large a share exceeds the context."""
    questions = tokenizer.encode([problem.question for problem in problems])
    prompts = [prompt_tokens(question, tokenizer.end_of_turn) for question in questions]
    too_long = sum(len(prompt) > context for prompt in prompts)
    if too_long > max_too_long_share * len(problems):
        raise UserError(
            f"{too_long} of {len(problems)} questions are longer than the context of "
            f"{context} tokens: raise config.model.<student>.context, or "
            "config.evaluation.max_too_long_share to count them as wrong"
        )
    return prompts


def grade_dialogue(
    problem: Problem,
    dialogue: generate.Dialogue,
    scheme: transcript.Scheme,
    tokenizer: Tokenizer,
    grade: Callable[[str, str], Grade],
) -> Prediction:
    """Grade the last solution of a dialogue: what came before it is not looked at.

    The status becomes `unparsed` where the dialogue was finished but no answer can be read.
    """
    texts = [tokenizer.decode(turn.tokens) for turn in dialogue.turns]
    turns = tuple(
        Turn(scheme.roles[turn.role], text, turn.written, turn.log_probability)
        for turn, text in zip(dialogue.turns, texts, strict=True)
    )
    solutions = [turn.text for turn in turns if turn.role == "solver"]
    graded = grade(solutions[-1] if solutions else "", problem.answer)
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
