"""Let the students answer problems, and grade what they wrote."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import NamedTuple

from distill_jax.dialogues.answerer import Event, Look, Sampled
from distill_jax.dialogues.cost import dialogue_cost
from distill_jax.dialogues.given import Script, ended_in_given
from distill_jax.dialogues.live import live_turns
from distill_jax.dialogues.sampler import Sampler
from distill_jax.dialogues.votes import combine
from distill_jax.errors import UserError
from distill_jax.records import Grade, Prediction, Problem, Sample, Turn
from distill_jax.sampling import generate
from distill_jax.sampling.dialogues import Dialogue, Request
from distill_jax.text import transcript
from distill_jax.text.rows import encode_prompts
from distill_jax.text.tokenizer import Tokenizer

STUDENTS = "students"  # who answers, if those of one run do


def nothing_given(problem: Problem) -> Script:
    """The script of a problem whose whole dialogue the students write."""
    del problem
    return ()


@dataclasses.dataclass(frozen=True)
class StudentsAnswerer:
    """The students of one run as an `Answerer`; to be used under `jax.set_mesh`.

    script  the given part of a problem's dialogue (sampling/turn_rules.py)
    known   single predictions by (id, sample) that are not asked for again
    look    whether there is a Look at every dialogue every few tokens, and one after it has stopped
    name    the value of `answered_by`
    """

    sampler: Sampler
    grade: Callable[[str, str], Grade]
    max_too_long_share: float
    script: Callable[[Problem], Script] = nothing_given
    known: Mapping[tuple[str, int], Prediction] = dataclasses.field(default_factory=dict)
    look: bool = False
    name: str = STUDENTS

    def answer(self, problems: Sequence[Problem]) -> Generator[Event, None, None]:
        """See `Answerer.answer`; with several samples a Prediction is their vote.

        A question that does not fit the context counts as wrong, status `prompt_too_long`. Raises
        UserError if more than `max_too_long_share` of the questions do not fit.
        """
        sampler, every = self.sampler, range(self.sampler.settings.samples)
        rule = sampler.settings.rule
        context = sampler.rules.context
        prompts = check_prompts(
            problems, sampler.scheme, sampler.tokenizer, context, self.max_too_long_share
        )
        # By the number of the problem, because two may have the same id and other scripts.
        singles = [
            {s: self.known[problem.id, s] for s in every if (problem.id, s) in self.known}
            for problem in problems
        ]
        requests = [
            Request(
                problem.id,
                prompt,
                tuple(s for s in every if s not in known),
                self.script(problem),
            )
            for problem, prompt, known in zip(problems, prompts, singles, strict=True)
        ]
        with contextlib.closing(generate.generate(sampler.job(requests, self.look))) as events:
            # The sampler begins first: only then does it notice a consumer that stops.
            beginning = next(events)
            assert isinstance(beginning, generate.Chunk)
            yield beginning
            for known in singles:
                if len(known) == len(every):
                    yield combine([known[s] for s in every], self.grade, rule)
            for event in events:
                if isinstance(event, generate.Chunk):
                    yield event
                    continue
                problem, sample = problems[event.request], event.sample
                if isinstance(event, generate.Growing):
                    yield Look(problem, sample, live_turns(event.dialogue, sampler))
                    continue
                request, known = requests[event.request], singles[event.request]
                known[sample] = self._prediction(problem, request, event.dialogue)
                yield Sampled(sample, known[sample], event.dialogue.filled_in)
                if len(known) == len(every):
                    yield combine([known[s] for s in every], self.grade, rule)

    def _prediction(self, problem: Problem, request: Request, dialogue: Dialogue) -> Prediction:
        graded = grade_dialogue(problem, dialogue, self.sampler, self.grade, request.script)
        cost = dialogue_cost(self.sampler.rules, len(request.prompt), dialogue)
        return dataclasses.replace(graded, answered_by=self.name, cost=cost)


def check_prompts(
    problems: Sequence[Problem],
    scheme: transcript.Scheme,
    tokenizer: Tokenizer,
    context: int,
    max_too_long_share: float,
) -> list[list[int]]:
    """The prompt of every problem; UserError if too large a share exceeds the context,
    and for text that the tokenizer cannot encode."""
    prompts = encode_prompts(problems, scheme, tokenizer)
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
            turn.written - turn.opening,
            turn.log_probability,
            turn.entropy,
            turn.margin,
        )
        for turn in dialogue.turns
    )


class _Marking(NamedTuple):
    """How a dialogue is graded, and what was given of it."""

    grade: Callable[[str, str], Grade]
    script: Script


def grade_dialogue(
    problem: Problem,
    dialogue: Dialogue,
    sampler: Sampler,
    grade: Callable[[str, str], Grade],
    script: Script = (),
) -> Prediction:
    """Grade the last solution of a dialogue; earlier turns do not matter.

    The status becomes `unparsed` if the dialogue was finished but no answer can be read. A dialogue
    that was stopped inside the part that its `script` gives has no answer.
    """
    written = written_turns(dialogue, sampler)
    return _graded(problem, written, dialogue.status, sampler, _Marking(grade, script))


def grade_again(
    problem: Problem,
    prediction: Prediction,
    sampler: Sampler,
    grade: Callable[[str, str], Grade],
    script: Script = (),
) -> Prediction:
    """What `prediction`, of an earlier evaluation of the problem, is by today's answer and `grade`.

    All samples are graded, and vote again.
    """
    marking = _Marking(grade, script)

    def graded(old: Prediction | Sample) -> Prediction:
        status = "finished" if old.status == "unparsed" else old.status
        new = _graded(problem, old.turns, status, sampler, marking)
        return dataclasses.replace(new, answered_by=old.answered_by, cost=old.cost)

    samples = [graded(each) for each in prediction.samples or (prediction,)]
    return combine(samples, grade, sampler.settings.rule)


def _graded(
    problem: Problem, turns: tuple[Turn, ...], status: str, sampler: Sampler, marking: _Marking
) -> Prediction:
    """`status` as the dialogue ended, whatever can be read of it."""
    solutions = [turn.text for turn in turns if turn.role == "solver"]
    if ended_in_given(marking.script, turns, status, sampler.rules):
        solutions = []
    graded = marking.grade(transcript.answer_text(solutions, sampler.scheme), problem.answer)
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
