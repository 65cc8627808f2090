"""Trained students that answer questions: what notebooks, servers and commands use.

students = distill_jax.load("runs/demo")
students.solve([question], samples=5, temperature=0.7)
students.solve([question], escalate_to="runs/large", threshold=0.3)
"""

import contextlib
import dataclasses
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union

import jax
import ml_collections

from distill_jax import devices, records
from distill_jax.dialogues import given, predict
from distill_jax.dialogues.answerer import Event, Look
from distill_jax.dialogues.given import Said
from distill_jax.dialogues.sampler import Sampler, Settings, cast_params, make_rules
from distill_jax.errors import UserError
from distill_jax.evaluation import deferral, familiarity
from distill_jax.model import sharding
from distill_jax.records import Prediction, Problem, shorten
from distill_jax.run import checks, escalation, from_first
from distill_jax.run.cascade import Cascade, OtherStudents
from distill_jax.run.escalation import KEY, Rule
from distill_jax.run.live_teacher import TEACHER, LiveTeacher, teacher_settings_of
from distill_jax.run.restore_students import chosen_steps, restore_params
from distill_jax.run.run import Run, stored_run
from distill_jax.run.solution import Solution
from distill_jax.run.student_setup import sizes
from distill_jax.run.ungraded import ungraded
from distill_jax.sampling.turn_rules import TurnRules
from distill_jax.settings import command_line
from distill_jax.text.rows import encode_prompts
from distill_jax.workdir import Workdir, read_json

PLACE = "place"  # attribute of a problem: its number among the questions
# Whom a cascade asks: see Students.cascade.
Larger = Union[str, os.PathLike[str], Mapping[str, Any], "Students"]


class _Asked(NamedTuple):
    """The checked arguments of `solve`."""

    questions: Sequence[str]
    beginnings: Sequence[Said]
    scripts: list[tuple[int, ...]]
    sampler: Sampler


class Students:
    """The students of one run. Made by `distill_jax.load`.

    example  a question that they were trained on
    """

    def __init__(self, run: Run):
        """Reads tokenizer and parameters; UserError if a student is not trained."""
        self._run = run
        self._tokenizer = from_first.tokenizer(run)
        self._mesh = sharding.make_mesh(**run.config.mesh)
        known = from_first.known_students(run)
        self._steps = chosen_steps(run, known)
        self._models = sizes(run, self._tokenizer, known.facts)
        with jax.set_mesh(self._mesh):
            self._params = {"float32": restore_params(run, self._models, self._steps)}
        self.example = next((row["question"] for row in _learned(run)), "")
        self._grade = ungraded(run.task, (row["answer"] for row in _learned(run)))
        self._usual = _usual(run.workdir, self._steps)
        self._larger: dict[tuple[str, str], Students] = {}  # by directory and checkpoint

    @property
    def name(self) -> str:
        """That of the run's directory."""
        return self._run.workdir.path.resolve().name

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that take turns, in order; a planner has only the first turn."""
        return self._run.scheme.roles

    @property
    def steps(self) -> dict[str, int]:
        """{student: step of its checkpoint}."""
        return dict(self._steps)

    @property
    def context(self) -> int:
        """The longest question that can be answered, in tokens; its dialogue needs room too."""
        return self._rules(self._run.sampling).context

    @property
    def sampling(self) -> Settings:
        """config.sampling."""
        return self._run.sampling

    def count_tokens(self, question: str) -> int:
        """The number of tokens of a question for the students. UserError if it is not unicode."""
        asked = Problem(repr(shorten(question)), question, "", "")
        [prompt] = encode_prompts([asked], self._run.scheme, self._tokenizer)
        return len(prompt)

    def solve(
        self,
        questions: Sequence[str],
        samples: int = 1,
        *,
        said: Sequence[Said] | None = None,
        seed: int | None = None,
        escalate_to: Larger | None = None,
        threshold: float | None = None,
        by: str | None = None,
        **settings: Any,
    ) -> list[Solution]:
        """A Solution for every question, in order.

        samples      dialogues per question; more than 1 draw at temperature 0.7 if none is given
        said         the given beginning of each dialogue, which the students continue; [] = none:
                     [[("decomposer", "How many are there after winning 8?"),
                       ("solver", "4 + 8 = 12")]]
        seed         config.sampling.seed instead of the run's; another one draws other samples.
                     The same question is answered in the same way
        escalate_to  others, who answer where these students are unsure; threshold, by: when. See
                     `cascade`. Directories are read once
        settings     keys of config.sampling instead of the run's: temperature, top_k, top_p,
                     max_turns, max_turn_tokens, max_tokens, slots, calculator

        Raises UserError for unknown settings, for turns of the wrong role, and if the given turns
        leave no room within max_tokens and max_turns (max_turn_tokens limits only what the
        students write themselves).
        """
        if escalate_to is not None:
            if said is not None:
                settings["said"] = said
            if seed is not None:
                settings["seed"] = seed
            cascade = self.cascade(escalate_to, threshold, by)
            return cascade.solve(questions, None if samples == 1 else samples, **settings)
        if threshold is not None or by is not None:
            raise UserError(f"threshold and by say when to ask others: give {KEY} as well")
        asked = self._asked(questions, samples, said, seed, settings)
        predictions = [
            event for event in self._events(asked, False) if isinstance(event, Prediction)
        ]
        predictions.sort(key=lambda prediction: prediction.attributes[PLACE])
        return [self._solution(prediction, asked) for prediction in predictions]

    def answer(
        self,
        questions: Sequence[str],
        samples: int = 1,
        *,
        said: Sequence[Said] | None = None,
        seed: int | None = None,
        look: bool = True,
        **settings: Any,
    ) -> Generator[Look | Solution, None, None]:
        """As `solve`, with the turns so far while they are being written.

        There is a Look at every dialogue every few tokens, and one after it has stopped, unless
        `look` is False; and a Solution as soon as its dialogues have stopped. The solutions are
        those of `solve`. Closing the iterator ends the dialogues:

            with contextlib.closing(students.answer([question])) as events:
                for event in events: ...

        Raises UserError as `solve` does, before it returns.
        """
        asked = self._asked(questions, samples, said, seed, settings)
        return self._with_solutions(self._events(asked, look), asked)

    def cascade(
        self, escalate_to: Larger, threshold: float | None = None, by: str | None = None
    ) -> Cascade:
        """These students, who ask others if their uncertainty is above a threshold.

        escalate_to  the directory of a run or its Students, who write as its config.sampling says;
                     "teacher", the model of config.teacher, or keys of config.teacher with other
                     values: {"model": "gpt-4o"}; or a directory that `combine --rule switch SMALL
                     LARGE` wrote: its large run is asked, by its threshold, and students write as
                     in its evaluations
        threshold    from -1 (always ask) to 1 (never)
        by           a measure of uncertainty, as in `combine --by`: "answer" if not given. "votes"
                     are those of the `samples` of `solve`, or of config.sampling.samples

        Raises UserError for what does not fit together or cannot be read, such as a teacher
        without a key.
        """
        if escalate_to == TEACHER:
            escalate_to = {}
        if isinstance(escalate_to, Mapping):
            rule = self._rule(*escalation.choose(None, threshold, by))
            settings = teacher_settings_of(self._run.config, escalate_to)
            return Cascade(self, LiveTeacher(settings, self._run.task.name, self._grade), rule)
        if isinstance(escalate_to, Students):
            rule = self._rule(*escalation.choose(None, threshold, by))
            return Cascade(self, self._others(escalate_to), rule)
        directory = os.fspath(escalate_to)
        switch = escalation.read_switch(directory)
        chosen = escalation.choose(switch, threshold, by)  # before anything is loaded
        if switch is None:
            return Cascade(self, self._others(self._loaded(directory)), self._rule(*chosen))
        small, large = switch.small, switch.large
        self._check_is(small)
        other = self._loaded(str(large.workdir), evaluation__checkpoint=large.checkpoint)
        other._check_is(large)
        others = OtherStudents(large.name, other, large.sampling)
        return Cascade(self, others, Rule(small.name, *chosen, small.sampling))

    def _rule(self, by: str, threshold: float) -> Rule:
        """When these ask. For votes they write as many dialogues as config.sampling says."""
        samples = self.sampling.samples
        several = {"samples": samples} if by == escalation.VOTES and samples > 1 else {}
        return Rule(self.name, by, threshold, several)

    def _others(self, other: "Students") -> OtherStudents:
        """Other students under the name of their run; UserError if they are these."""
        own, theirs = (each._run.workdir.path.resolve() for each in (self, other))
        if own == theirs and other.steps == self.steps:
            raise UserError(f"{KEY}={theirs}: these are the same students")
        return OtherStudents(other.name if other.name != self.name else str(theirs), other, {})

    def _check_is(self, member: escalation.Member) -> None:
        escalation.check_is(member, self._run.workdir, self._run.identity(), self._steps)

    def _loaded(self, workdir: str, **overrides: str) -> "Students":
        """Other students, loaded once."""
        key = os.path.realpath(workdir), str(overrides)
        if key not in self._larger:
            self._larger[key] = load(workdir, **overrides)
        return self._larger[key]

    def _asked(
        self,
        questions: Sequence[str],
        samples: int,
        said: Sequence[Said] | None,
        seed: int | None,
        settings: dict[str, Any],
    ) -> _Asked:
        if isinstance(questions, str):
            raise UserError("questions is a list: solve([question])")
        _check_given(settings.get("given", ""))
        if samples > 1 and "temperature" not in settings and not self._run.sampling.temperature:
            settings["temperature"] = 0.7
        if seed is not None:
            settings["seed"] = seed
        sampler = self._sampler({"samples": samples, **settings})
        beginnings = [[] for _ in questions] if said is None else said
        if len(beginnings) != len(questions):
            raise UserError(f"said has {len(beginnings)} beginnings for {len(questions)} questions")
        scripts = [given.beginning(said, sampler) for said in beginnings]
        return _Asked(questions, beginnings, scripts, sampler)

    def _events(self, asked: _Asked, look: bool) -> Generator[Event, None, None]:
        # The text of a question decides what is drawn. It may be asked twice, so its place is its
        # id.
        problems = [
            Problem(question, question, "", "asked", {PLACE: place})
            for place, question in enumerate(asked.questions)
        ]
        answerer = predict.StudentsAnswerer(
            asked.sampler,
            self._grade,
            max_too_long_share=1.0,
            script=lambda problem: asked.scripts[problem.attributes[PLACE]],
            look=look,
        )
        return _under_mesh(self._mesh, answerer.answer(problems))

    def _with_solutions(
        self, events: Generator[Event, None, None], asked: _Asked
    ) -> Generator[Look | Solution, None, None]:
        with contextlib.closing(events):
            for event in events:
                if isinstance(event, Look):
                    yield event
                elif isinstance(event, Prediction):
                    yield self._solution(event, asked)

    def _solution(self, prediction: Prediction, asked: _Asked) -> Solution:
        votes: dict[str | None, int] = {}
        for each in prediction.samples or (prediction,):
            votes[each.prediction] = votes.get(each.prediction, 0) + 1
        ordered = sorted(
            votes.items(), key=lambda item: (item[0] != prediction.prediction, -item[1])
        )
        return Solution(
            prediction.question,
            prediction.prediction,
            prediction.turns,
            prediction.status,
            dict(ordered),
            self._percentile(prediction, asked),
            uncertainties=deferral.uncertainties(prediction),
            costs={prediction.answered_by: prediction.cost},
        )

    def _percentile(self, prediction: Prediction, asked: _Asked) -> int | None:
        """See Solution; also None if the beginning of a lone role's text was given."""
        given = len(asked.beginnings[prediction.attributes[PLACE]])
        greedy = familiarity.is_greedy(dataclasses.asdict(asked.sampler.settings))
        if not (self._usual and greedy) or (given and len(self.roles) == 1):
            return None
        value = familiarity.mean_log_probability(prediction.turns, given)
        return None if value is None else familiarity.percentile(value, self._usual)

    def _rules(self, settings: Settings) -> TurnRules:
        run = self._run
        return make_rules(run.scheme, run.views, self._models, self._tokenizer, settings)

    def _sampler(self, changes: dict[str, Any]) -> Sampler:
        settings = changed_settings(self._run, changes)
        rules = self._rules(settings)
        with jax.set_mesh(self._mesh):
            # Cast once, because a cast in every call would take time and memory.
            if rules.dtype not in self._params:
                self._params[rules.dtype] = {
                    student: cast_params(rules.students[student], params, rules.dtype)
                    for student, params in self._params["float32"].items()
                }
            params = self._params[rules.dtype]
            seed = self._run.config.seed
            return Sampler(rules, self._run.scheme, self._tokenizer, params, settings, seed)


def _under_mesh(
    mesh: jax.sharding.Mesh, events: Generator[Event, None, None]
) -> Generator[Event, None, None]:
    """The mesh is set while the students work, not while the caller looks at an event."""
    with contextlib.closing(events):
        while True:
            with jax.set_mesh(mesh):
                event = next(events, None)
            if event is None:
                return
            yield event


def _learned(run: Run) -> Iterator[dict[str, Any]]:
    """The rows of the run's annotations, read one by one, because there may be very many."""
    return (row for _, row in records.json_lines(run.workdir.annotations))


def _usual(workdir: Workdir, steps: dict[str, int]) -> list[float]:
    """How sure these students were in the headline evaluation: its quantiles; [] if it has none."""
    report = read_json(workdir.report_json) if workdir.report_json.exists() else {}
    same = report.get("checkpoint_steps") == steps
    return report.get("log_probability_quantiles", []) if same else []


def changed_settings(run: Run, changes: dict[str, Any]) -> Settings:
    """config.sampling of a run with other values for some keys. Raises UserError for unknown keys
    and wrong values."""
    config: Any = ml_collections.ConfigDict(run.config.to_dict())
    texts = {f"sampling.{key}": command_line.as_text(value) for key, value in changes.items()}
    checks.set_and_check(config, texts)
    return Settings(**config.sampling)


def _check_given(what: str) -> None:
    if what not in ("", given.NOTHING):
        raise UserError(
            f"config.sampling.given={what!r}: a question that is asked has no gold steps to give; "
            "in Python write turns with solve(said=[[...]])"
        )


def load(workdir: str | os.PathLike[str], **overrides: Any) -> Students:
    """See `distill_jax.load`."""
    devices.expect_what_is_there()
    texts = {
        key.replace("__", "."): command_line.as_text(value) for key, value in overrides.items()
    }
    _check_given(texts.get("sampling.given", ""))
    return Students(from_first.checked(stored_run(Workdir(os.fspath(workdir)), texts)))
