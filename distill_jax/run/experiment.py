"""One run, stage by stage. Finished stages are skipped, half-done ones continue.

annotations.jsonl -> tokenizer/ -> rows -> checkpoints/<student>/ -> evaluations/ -> report.html
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import devices, distributed
from distill_jax.annotations.preferences import transcripts_of
from distill_jax.evaluation.summary import closing_lines
from distill_jax.run import (
    from_first,
    output_check,
    preference_pairs,
    restore_students,
    training_annotations,
)
from distill_jax.run.annotation_sources import Desk
from distill_jax.run.evaluate_students import evaluate_students
from distill_jax.run.run import make_run, stored_run
from distill_jax.run.stages import evaluation_directory, is_evaluated, stages
from distill_jax.settings import command_line
from distill_jax.teacher.settings import Spending
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.tracking.reporting import make_reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir


def run(config: Any, path: str, yes: bool = False) -> None:
    """The whole experiment in `path`; skips finished stages. `yes`: send requests to the
    teacher without asking the person at the terminal first."""
    devices.expect_what_is_there()
    distributed.initialize(**dict(config.distributed))
    workdir = Workdir(path)
    with _locked(workdir):
        reporting = make_reporting(config, workdir)
        this = from_first.checked(make_run(config, workdir), may_take_over=True)
        reporting.tracking.check()
        if distributed.is_first() and workdir.config.exists():
            reporting.terminal.keep_log(workdir.log)
        if not is_evaluated(this):
            output_check.check_outputs(this)
            restore_students.forget_damaged(this, reporting.terminal)
            restore_students.keep_parameters(this)
        desk = Desk(this, reporting.terminal, Spending(allowed=True, yes=yes))
        with contextlib.closing(reporting.tracking):
            for stage in stages(desk, reporting):
                if stage.done():
                    reporting.terminal.say(f"{stage.name}: nothing left to do")
                else:
                    stage.run()


@contextlib.contextmanager
def _locked(workdir: Workdir) -> Iterator[None]:
    """Process 0 holds the directory; if it cannot, all processes stop."""
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(workdir.locked())

        distributed.from_first(lock)
        yield


def show_batch(config: Any) -> None:
    """Print the first training row of every view, or both of the first pair; writes nothing."""
    devices.expect_what_is_there()
    with tempfile.TemporaryDirectory() as nowhere:
        this = make_run(config, Workdir(nowhere))
        data = training_annotations.collect(this, Terminal())
        annotations, pairs = data.train, preference_pairs.collect(this, data)
        transcript.check_plans(annotations, this.scheme)
        tokenizer = from_first.tokenizer(this, annotations)
    for view in this.views:
        if pairs is None:
            rows = text_rows.encode_rows(annotations[:1], this.scheme, [view], tokenizer)
        else:
            answers = list(transcripts_of(pairs.train[:1]))
            rows = text_rows.encode_transcripts(answers, this.scheme, [view], tokenizer)
        roles = ", ".join(this.scheme.roles[i] for i in view.writes)
        for row in rows[view.student]:
            learned = sum(writer != text_rows.NO_LOSS for writer in row.writers)
            said = f"{len(row.tokens)} tokens, {learned} learned"
            print(f"--- student {view.student} as {roles}: {said}")
            print(text_rows.show_row(row, tokenizer, this.scheme.roles))


def evaluate(path: str, overrides: Mapping[str, Any]) -> pathlib.Path:
    """Only the evaluation, for the run in `path` with its own config and these overrides.

    Returns the directory of the evaluation.
    """
    devices.expect_what_is_there()
    workdir = Workdir(path)
    texts = {key: command_line.as_text(value) for key, value in overrides.items()}
    this = stored_run(workdir, texts)
    distributed.initialize(**dict(this.config.distributed))
    with _locked(workdir):
        reporting = make_reporting(this.config, workdir)
        this = from_first.checked(this)
        result = evaluate_students(this, reporting, headline=False)
        directory = evaluation_directory(this, from_first.known_students(this))
    for line in closing_lines(result):
        reporting.terminal.say(line)
    reporting.terminal.say(f"report: {directory / 'report.html'}")
    reporting.terminal.say(
        "all evaluations of the run: "
        + command_line.to_type("evaluate", "--workdir", workdir.path, "--list")
    )
    return directory
