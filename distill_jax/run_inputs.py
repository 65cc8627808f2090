"""What a run is made of: the checked config, its task and scheme, annotations and tokenizer."""

import importlib
import inspect
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from distill_jax import command_line, metrics, records
from distill_jax.annotations.verify import Rejected, verify
from distill_jax.errors import UserError
from distill_jax.evaluation.evaluate import make_plan
from distill_jax.model import gpt2
from distill_jax.sampling import decode
from distill_jax.text import rows as text_rows
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.text import transcript
from distill_jax.workdir import Workdir, write_json, write_text

# Sections and keys that do not decide what the students are: they may differ from run to run.
NOT_IDENTITY = ("sampling.", "evaluation.", "mesh.")
NOT_IDENTITY_KEYS = ("train.log_every", "train.save_every", "train.keep", "train.students")
# The least value of keys for which a smaller one makes no sense.
LEAST = {
    "seed": 0,
    "tokenizer.vocab_size": 258,  # all bytes and two end marks
    "data.train_problems": 0,
    "data.seq_len": 0,
    "train.steps": 0,
    "train.token_budget": 0,
    "train.batch_size": 1,
    "train.log_every": 1,
    "train.save_every": 1,
    "train.keep": 1,
    "sampling.temperature": 0.0,
    "sampling.max_turns": 1,
    "sampling.max_turn_tokens": 1,
    "sampling.max_tokens": 1,
    "sampling.batch_size": 1,
    "evaluation.problems": 0,
    "evaluation.max_too_long_share": 0.0,
}
CAPS = ("max_turns", "max_turn_tokens", "max_tokens")


class RunInputs:
    """A checked config with its task, scheme and working directory."""

    def __init__(self, config: Any, workdir: Workdir):
        """`config` is a ConfigDict (its keys are attributes that type checkers cannot know).

        Raises UserError for everything in `config` that can be checked without data."""
        self.config = config
        self.workdir = workdir
        self.terminal = metrics.Terminal()
        self.metrics_file = metrics.MetricsFile(workdir.metrics)
        self.task = _import_task(config.task)
        self.task_options = _check_options(self.task, config.task, config.task_options)
        if config.scheme not in transcript.SCHEMES:
            raise UserError(
                f"config.scheme={config.scheme!r}: choose {', '.join(transcript.SCHEMES)}"
            )
        self.scheme = transcript.SCHEMES[config.scheme]
        known_roles = sorted({role for s in transcript.SCHEMES.values() for role in s.roles})
        text_rows.check_reads(config.reads, known_roles)
        self.views = text_rows.make_views(self.scheme, config.students, config.reads)
        self.students = list(dict.fromkeys(view.student for view in self.views))
        for section in ("model", "optimizer"):
            for student in self.students:
                if student not in config[section]:
                    raise UserError(f"config.{section} has no section for student {student!r}")
        for student in config.train.students:
            if student not in self.students:
                raise UserError(
                    f"config.train.students names {student!r}: this scheme has "
                    f"{', '.join(self.students)}"
                )
        flat = command_line.flatten(config)
        for key, least in LEAST.items():
            if flat[key] < least:
                raise UserError(f"config.{key}={flat[key]}: must be at least {least}")
        if config.train.steps <= 0 and config.train.token_budget <= 0:
            raise UserError("set config.train.steps or config.train.token_budget above 0")

    def identity(self) -> dict[str, Any]:
        """The flat part of the config that decides what the students are."""
        flat = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in command_line.flatten(self.config).items()
            if not key.startswith(NOT_IDENTITY) and key not in NOT_IDENTITY_KEYS
        }
        used = set(self.students)
        return {
            key: value
            for key, value in flat.items()
            if not key.startswith(("model.", "optimizer.")) or key.split(".")[1] in used
        }

    def check_workdir(self) -> None:
        """Raise UserError where the directory holds a run of another identity."""
        if self.workdir.config.exists():
            self.workdir.check_identity(self.identity())
            self.terminal.keep_log(self.workdir.log)

    def collect_annotations(self) -> tuple[list[records.Annotation], list[Rejected]]:
        """The verified training annotations, and those that were rejected.

        They are the directory's where it has them (the rejected ones are then not read again), and
        else come from the task. Raises UserError where none is left.
        """
        path = self.workdir.annotations
        if path.exists():
            rows = records.read_json_lines(path)
            return [records.annotation_from_dict(row) for _, row in rows], []
        split = self.config.data.train_split
        problems = self.task.load(split, **self.task_options)
        if self.scheme.name == "answer_only":
            # Nothing but question and answer is needed, so problems without steps will do.
            annotations = [
                records.Annotation(p.id, p.question, p.answer, (), {"kind": "gold"})
                for p in problems
            ]
        else:
            annotations = self.task.load_annotations(split, **self.task_options)
        records.refuse_duplicates(annotations, f"the annotations of {self.config.task}")
        kept, rejected = verify(annotations, problems, self.task.grade)
        if not kept:
            reason = rejected[0].reason if rejected else "there are none"
            raise UserError(f"{self.config.task} {split}: no annotation to train on ({reason})")
        limit = self.config.data.train_problems
        return (kept[:limit] if limit else kept), rejected

    def write(
        self,
        annotations: list[records.Annotation],
        rejected: list[Rejected],
        tokenizer: text_tokenizer.Tokenizer,
    ) -> None:
        """Write what the students are made from; what is there already stays as it is."""
        workdir = self.workdir
        # The config first: files without it would belong to nobody after a crash.
        workdir.write_config(self.config.to_dict(), self.identity())
        write_json(workdir.environment, _environment())
        self.terminal.keep_log(workdir.log)
        if not workdir.annotations.exists():
            lines = [records.to_json(each) + "\n" for each in rejected]
            write_text(workdir.rejected_annotations, "".join(lines))
            write_text(workdir.annotations, "".join(records.to_json(a) + "\n" for a in annotations))
        if rejected:
            self.terminal.say(
                f"{len(rejected)} annotations were rejected: {workdir.rejected_annotations}"
            )
        if not workdir.tokenizer.exists():
            temporary = workdir.tokenizer.with_name(".tokenizer.tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            tokenizer.save(temporary)
            os.replace(temporary, workdir.tokenizer)

    def tokenizer(self, annotations: list[records.Annotation]) -> text_tokenizer.Tokenizer:
        """The run's tokenizer: the directory's, or else trained or loaded as the config says."""
        if self.workdir.tokenizer.exists():
            return text_tokenizer.load_tokenizer(str(self.workdir.tokenizer))
        if self.config.tokenizer.name:
            return text_tokenizer.load_tokenizer(self.config.tokenizer.name)
        return text_tokenizer.train_tokenizer(_texts(annotations), self.config.tokenizer.vocab_size)

    def models(self, tokenizer: text_tokenizer.Tokenizer) -> dict[str, gpt2.GPT2Config]:
        """The size of every student."""
        return {
            student: gpt2.GPT2Config(vocab_size=tokenizer.padded_size, **self.config.model[student])
            for student in self.students
        }

    def plan(self, tokenizer: text_tokenizer.Tokenizer) -> decode.DialoguePlan:
        """How the students take turns, as the sampler wants it."""
        caps = {key: self.config.sampling[key] for key in CAPS}
        return make_plan(self.scheme, self.views, self.models(tokenizer), tokenizer, **caps)

    def evaluation_problems(self) -> list[records.Problem]:
        """The problems of config.evaluation, in order."""
        settings = self.config.evaluation
        problems = self.task.load(settings.split, **self.task_options)
        if not problems:
            raise UserError(f"{self.config.task} {settings.split}: no problems to evaluate on")
        records.refuse_duplicates(problems, f"{self.config.task} {settings.split}")
        return problems[: settings.problems] if settings.problems else problems


def _texts(annotations: list[records.Annotation]):
    """What a tokenizer is trained on: questions and all that is written about them."""
    for annotation in annotations:
        yield annotation.question
        for step in annotation.steps:
            yield from (step.subquestion or "", step.solution)
        yield f"{transcript.ANSWER_MARK}{annotation.answer}"


def _import_task(name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"config.task={name!r}: no such module; give distill_jax.tasks.arithmetic, "
                "gsm8k or jsonl, or a module of yours in this directory or on PYTHONPATH"
            ) from None
        raise UserError(f"config.task={name!r} needs {error.name!r}: install it") from None
    finally:
        sys.path.pop(0)
    for function in ("load", "load_annotations", "grade"):
        if not hasattr(module, function):
            raise UserError(f"config.task={name!r} has no function {function}()")
    return module


def _check_options(task: Any, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    parameters = list(inspect.signature(task.load).parameters)[1:]
    unknown = [key for key in options if key not in parameters]
    if unknown:
        raise UserError(
            f"config.task_options has {', '.join(unknown)}, which {name} does not take: "
            f"it takes {', '.join(parameters)}"
        )
    return dict(options)


def _environment() -> dict[str, Any]:
    """Versions and devices, for config.json's sake: what made these numbers."""
    import jax

    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers")
    return {
        "distill_jax": metadata.version("distill-jax"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "packages": {name: metadata.version(name) for name in packages},
    }
