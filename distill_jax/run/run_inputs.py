"""What a run is made of: the checked config, its task and scheme, annotations and tokenizer."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from etils import epath

from distill_jax import distributed, records
from distill_jax.dialogues.sampler import Settings, make_plan
from distill_jax.errors import UserError
from distill_jax.model import families
from distill_jax.model.network import NetworkConfig
from distill_jax.run import checks, student_source, workdir_check
from distill_jax.sampling.plan import DialoguePlan
from distill_jax.settings import command_line, task_module
from distill_jax.teacher.settings import NOTHING, Spending
from distill_jax.text import rows as text_rows
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.text import transcript
from distill_jax.text.formats import FORMATS, TextFormat
from distill_jax.tracking.metrics_file import MetricsFile
from distill_jax.tracking.terminal import Terminal
from distill_jax.tracking.trackers import Tracking
from distill_jax.workdir import Workdir, read_json, write_text

# Sections and keys that do not decide what the students are: they may differ from run to run.
NOT_IDENTITY = ("sampling.", "evaluation.", "mesh.", "distributed.")
NOT_IDENTITY_KEYS = (
    *(f"train.{key}" for key in ("log_every", "save_every", "keep", "students")),
    # How it is computed: the same but for rounding (and, with micro-batches, which numbers drop).
    *(f"train.{key}" for key in ("accumulation", "remat", "attention", "loss_chunk")),
    "checkpoint_dir",
    # What is written down beside it.
    *("tracking", "train.profile_first", "train.profile_last"),
    # What an answer costs, how and where it is got.
    *(f"teacher.{key}" for key in ("base_url", "concurrency", "requests_per_minute")),
    *(f"teacher.{key}" for key in ("tokens_per_minute", "timeout_s", "retries", "cache_dir")),
    *(f"teacher.{key}" for key in ("price_input", "price_output")),
)


class EvaluatedTask(NamedTuple):
    """The task whose problems are asked: the run's, or another one."""

    name: str
    module: Any
    options: dict[str, Any]

    @property
    def grade(self) -> Callable[[str, str], records.Grade]:
        """How its answers are graded."""
        return task_module.grader(self.module, self.options)


class RunInputs:
    """A checked config with its task, scheme and working directory."""

    def __init__(self, config: Any, workdir: Workdir, spending: Spending = NOTHING):
        """`config` is a ConfigDict (its keys are attributes that type checkers cannot know).

        Raises UserError for everything in `config` that can be checked without data."""
        checks.check_values(config)
        self.config = config
        self.workdir = workdir
        # Whether the directory's run is to be replaced (run/workdir_check.py): it is not read then.
        self.takes_over = False
        # How far the teacher may be asked.
        self.spending = spending
        first = distributed.is_first()
        self.terminal = Terminal(quiet=not first)
        self.metrics_file = MetricsFile(workdir.metrics if first else None)
        self.tracking = Tracking(config, workdir, self.metrics_file)
        self.task = task_module.import_task(config.task)
        options = config.task_options
        self.task_options = task_module.check_options(self.task, config.task, options)
        self.grade = task_module.grader(self.task, self.task_options)
        self.evaluated = _evaluated_task(config, self.task, self.task_options)
        self.sampling = Settings(**config.sampling)
        self.scheme = dataclasses.replace(
            transcript.SCHEMES[config.scheme], text_format=FORMATS[config.text_format]
        )
        self.views = text_rows.make_views(self.scheme, config.students, config.reads)
        self.students = list(dict.fromkeys(view.student for view in self.views))

    def identity(self) -> dict[str, Any]:
        """The flat part of the config that decides what the students are."""
        flat = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in command_line.flatten(self.config).items()
            if not key.startswith(NOT_IDENTITY) and key not in NOT_IDENTITY_KEYS
        }
        if "planner" not in self.scheme.roles:  # runs from before there was one have no such keys
            flat = {
                key: [r for r in value if r != "planner"] if key.startswith("reads.") else value
                for key, value in flat.items()
                if key not in ("students.planner", "reads.planner")
            }
        used = set(self.students)
        return {
            key: value
            for key, value in flat.items()
            if (not key.startswith(("model.", "optimizer.")) or key.split(".")[1] in used)
            # Without a teacher it does not matter how it would be asked.
            and (self.config.teacher.model or not key.startswith("teacher."))
            and key != "teacher.reasoning"
        } | self._reasoning()

    def _reasoning(self) -> dict[str, str]:
        """What becomes of thoughts, if they are not dropped: runs from before had no such key."""
        read = self.config.teacher.model or self.config.data.annotations
        reasoning = self.config.teacher.reasoning
        return {"teacher.reasoning": reasoning} if read and reasoning != "drop" else {}

    def check_workdir(self, *, may_take_over: bool = False) -> None:
        """Raise UserError where the directory is not this run's, in every process; see
        run/workdir_check.py, for `may_take_over` too."""
        self.takes_over = distributed.from_first(
            lambda: workdir_check.check_workdir(
                self.workdir, self.identity(), may_take_over=may_take_over
            )
        )

    def tokenizer(self, annotations: Sequence[records.Annotation] = ()) -> text_tokenizer.Tokenizer:
        """The run's tokenizer: the directory's, or else trained or loaded as the config says.

        Process 0 has it; the others load what it sends them.
        """
        with tempfile.TemporaryDirectory() as temporary:
            directory = pathlib.Path(temporary)

            def files() -> dict[str, str]:
                self._first_tokenizer(annotations).save(directory)
                return {path.name: path.read_text("utf-8") for path in directory.iterdir()}

            if jax.process_count() == 1:
                return self._first_tokenizer(annotations)
            for name, text in distributed.from_first(files).items():
                write_text(directory / name, text)
            return text_tokenizer.load_tokenizer(str(directory))

    def _first_tokenizer(self, annotations) -> text_tokenizer.Tokenizer:
        if self.workdir.tokenizer.exists() and not self.takes_over:
            return text_tokenizer.load_tokenizer(str(self.workdir.tokenizer))
        if self.config.tokenizer.name:
            return text_tokenizer.load_tokenizer(self.config.tokenizer.name)
        texts = _texts(annotations, self.scheme.text_format)
        return text_tokenizer.train_tokenizer(texts, self.config.tokenizer.vocab_size)

    def facts(self) -> dict[str, Any]:
        """training_data.json: what is known of each student whose training has begun."""
        path = self.workdir.training_data

        def read() -> dict[str, Any]:
            return read_json(path) if path.exists() and not self.takes_over else {}

        return distributed.from_first(read)

    def models(self, tokenizer: text_tokenizer.Tokenizer) -> dict[str, NetworkConfig]:
        """The size of every student: as recorded, or else as the config says.

        Raises UserError where config.model.<student>.init_from cannot be read.
        """
        facts = self.facts()
        models = {
            student: families.from_json(facts[student]["model"])
            if student in facts
            else student_source.model_config(self.config.model[student], student, tokenizer)
            for student in self.students
        }
        # They take turns, so they have the same ids: as many rows as the one with the most.
        rows = max(model.vocab_size for model in models.values())
        return {name: dataclasses.replace(m, vocab_size=rows) for name, m in models.items()}

    def checkpoint_directory(self, student: str) -> epath.Path:
        """Where the student's checkpoints lie."""
        base = self.config.checkpoint_dir or self.workdir.checkpoints
        return epath.Path(base) / student

    def plan(self, tokenizer: text_tokenizer.Tokenizer) -> DialoguePlan:
        """How the students take turns, as the sampler wants it."""
        models = self.models(tokenizer)
        return make_plan(self.scheme, self.views, models, tokenizer, self.sampling)

    def evaluation_problems(self, held_out: Sequence[records.Annotation]) -> list[records.Problem]:
        """The problems of config.evaluation, in order. Where dev was held out of the training
        problems, split "dev" is what was `held_out`."""
        settings, task = self.config.evaluation, self.evaluated
        if settings.split == "dev" and self._held_out(held_out):
            problems = [records.Problem(a.id, a.question, a.answer, "dev") for a in held_out]
        else:
            problems = task.module.load(settings.split, **task.options)
        if not problems:
            raise UserError(f"{task.name} {settings.split}: no problems to evaluate on")
        records.refuse_duplicates(problems, f"{task.name} {settings.split}")
        return problems[: settings.problems] if settings.problems else problems

    def gold_annotations(
        self, held_out: Sequence[records.Annotation]
    ) -> dict[str, records.Annotation]:
        """{id: gold annotation} of the problems of config.evaluation."""
        split, task = self.config.evaluation.split, self.evaluated
        if split == "dev" and self._held_out(held_out):
            return {a.id: a for a in held_out}
        return {a.id: a for a in task.module.load_annotations(split, **task.options)}

    def _held_out(self, held_out: Sequence[records.Annotation]) -> bool:
        """Whether the dev problems were held out of the run's training problems."""
        own = not self.config.evaluation.task and not self.config.data.dev_split
        return bool(held_out) and own


def _evaluated_task(config: Any, module: Any, options: dict[str, Any]) -> EvaluatedTask:
    settings = config.evaluation
    if settings.task:
        module = task_module.import_task(settings.task, "config.evaluation.task")
        options = task_module.parse_options(module, settings.task, settings.task_options)
    elif settings.task_options:
        raise UserError("config.evaluation.task_options is set: set config.evaluation.task too")
    return EvaluatedTask(settings.task or config.task, module, options)


def _texts(annotations: Sequence[records.Annotation], text_format: TextFormat):
    """What a tokenizer is trained on: questions and all that is written about them."""
    for annotation in annotations:
        yield text_format.question(annotation.question)
        for step in annotation.steps:
            yield from (step.subquestion or "", step.solution)
        yield f"{text_format.before_answer}{annotation.answer}"
