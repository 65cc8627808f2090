"""Only the annotation stage, for `python -m distill_jax.annotate`."""

import tempfile
from typing import Any

from distill_jax import devices, distributed, records
from distill_jax.annotations import hub
from distill_jax.annotations.summary import summarise, table
from distill_jax.errors import UserError
from distill_jax.run import from_first, training_annotations
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.run import make_run
from distill_jax.teacher.settings import Spending
from distill_jax.tracking.reporting import make_reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir


def annotate(config: Any, path: str, yes: bool) -> None:
    """Write the annotations of a run into `path`; `python -m distill_jax.main` continues from
    there.

    Until a student has begun to train, running it again asks only for missing answers and reads all
    answers again, so another parser or filter needs no new request.
    """
    devices.expect_what_is_there()
    workdir = Workdir(path)
    with workdir.locked():
        terminal = make_reporting(config, workdir).terminal
        run = make_run(config, workdir)
        if distributed.processes() > 1:
            raise UserError("annotate runs in one process: set config.distributed.processes=1")
        run = from_first.checked(run, may_take_over=True)
        if workdir.training_data.exists() and not run.takes_over:
            terminal.say(f"students are trained on {workdir.annotations}: nothing to do")
            return
        with terminal.watching():
            data = training_annotations.annotate(run, terminal, Spending(allowed=True, yes=yes))
            training_annotations.write_annotations(run, data, terminal)
        terminal.say(f"{len(data.train)} annotations: {workdir.annotations}")


def trial(config: Any, problems: int, yes: bool) -> None:
    """Ask the teacher about the first `problems` only, and print what would be kept; writes nothing
    but the cache. Annotations that cost nothing are all checked."""
    devices.expect_what_is_there()
    terminal = Terminal()
    with tempfile.TemporaryDirectory() as nowhere:
        run = make_run(config, Workdir(nowhere))
        desk = Desk(run, terminal, Spending(allowed=True, yes=yes))
        kept, rejected = training_annotations.checked(desk, config.data.train_split, problems)
        if kept:
            terminal.show(f"--- the first that is kept\n{_as_text(kept[0])}")
        if rejected:
            first = rejected[0]
            written = _as_text(first.annotation) if first.annotation else first.text
            why = f"{first.reason}: {first.detail}"
            terminal.show(f"--- the first that is rejected ({first.id}, {why})\n{written}")
        terminal.show(f"---\n{table(summarise(kept, rejected))}")


def push(path: str, name: str) -> None:
    """Upload the annotations of a finished annotation stage, with a card."""
    Terminal().say(hub.push(Workdir(path), name))


def _as_text(annotation: records.Annotation) -> str:
    steps = [f"  {step.subquestion or ''} -> {step.solution}" for step in annotation.steps]
    head = f"{annotation.id}: {annotation.question}"
    return "\n".join([head, *steps, f"  #### {annotation.answer}"])
