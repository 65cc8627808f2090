"""One run, stage by stage. What is finished is skipped, what is half-done goes on.

annotations.jsonl -> tokenizer/ -> rows -> checkpoints/<student>/ -> evaluations/ -> report.html
"""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import devices, distributed
from distill_jax.evaluation.summary import closing_lines
from distill_jax.run import checks, training_annotations
from distill_jax.run.evaluate_students import evaluate_students, evaluation_name
from distill_jax.run.restore_students import chosen_steps, finished_students, forget_damaged
from distill_jax.run.run_inputs import RunInputs
from distill_jax.run.train_students import train_students
from distill_jax.settings import command_line
from distill_jax.teacher.settings import Spending
from distill_jax.text import rows as text_rows
from distill_jax.text import transcript
from distill_jax.workdir import Workdir


def run(config: Any, path: str, yes: bool = False) -> None:
    """The whole experiment in `path`; skips what is finished. `yes`: the teacher may be asked
    without asking the person at the terminal first."""
    devices.expect_what_is_there()
    distributed.initialize(**dict(config.distributed))
    workdir = Workdir(path)
    with _locked(workdir):
        inputs = RunInputs(config, workdir, Spending(allowed=True, yes=yes))
        inputs.check_workdir(may_take_over=True)
        inputs.tracking.check()
        if distributed.is_first() and workdir.config.exists():
            inputs.terminal.keep_log(workdir.log)
        if not is_evaluated(inputs):
            forget_damaged(inputs)
        with contextlib.closing(inputs.tracking):
            trained = train_students(inputs)
            missing = [student for student in inputs.students if student not in trained]
            if missing:
                inputs.terminal.say(
                    f"still to train before the evaluation: {', '.join(missing)} "
                    "(--config.train.students)"
                )
                return
            evaluate_students(inputs, headline=True)


def is_evaluated(inputs: RunInputs) -> bool:
    """Whether nothing is left to do: then checkpoints are not read, which takes long."""
    finished = finished_students(inputs)
    if len(finished) < len(inputs.students):
        return False
    return distributed.from_first((evaluation_directory(inputs) / "report.json").exists)


def evaluation_directory(inputs: RunInputs) -> pathlib.Path:
    """Where the evaluation of the config lies, or will lie."""
    return inputs.workdir.evaluations / evaluation_name(inputs, chosen_steps(inputs))


@contextlib.contextmanager
def _locked(workdir: Workdir) -> Iterator[None]:
    """Process 0 holds the directory; where it cannot, all of them stop."""
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(workdir.locked())

        distributed.from_first(lock)
        yield


def show_batch(config: Any) -> None:
    """Print the first training row of every view, from the task itself; writes nothing."""
    devices.expect_what_is_there()
    with tempfile.TemporaryDirectory() as nowhere:
        _show_rows(RunInputs(config, Workdir(nowhere)))


def _show_rows(inputs: RunInputs) -> None:
    annotations = training_annotations.collect(inputs).train
    transcript.check_plans(annotations, inputs.scheme)
    tokenizer = inputs.tokenizer(annotations)
    for view in inputs.views:
        rows = text_rows.encode_rows(annotations[:1], inputs.scheme, [view], tokenizer)
        row = rows[view.student][0]
        roles = ", ".join(inputs.scheme.roles[i] for i in view.writes)
        learned = sum(writer != text_rows.NO_LOSS for writer in row.writers)
        print(f"--- student {view.student} as {roles}: {len(row.tokens)} tokens, {learned} learned")
        print(text_rows.show_row(row, tokenizer, inputs.scheme.roles))


def evaluate(path: str, overrides: Mapping[str, Any]) -> pathlib.Path:
    """Only the evaluation, of the run in `path` with its own config and these overrides.

    Returns the directory of the evaluation.
    """
    devices.expect_what_is_there()
    workdir = Workdir(path)
    config: Any = command_line.config_from_dict(workdir.stored_config())
    texts = {key: command_line.as_text(value) for key, value in overrides.items()}
    checks.set_and_check(config, texts)
    distributed.initialize(**dict(config.distributed))
    with _locked(workdir):
        inputs = RunInputs(config, workdir)
        inputs.check_workdir()
        result = evaluate_students(inputs, headline=False)
        directory = workdir.evaluations / evaluation_name(inputs, chosen_steps(inputs))
    for line in closing_lines(result):
        inputs.terminal.say(line)
    inputs.terminal.say(
        f"all evaluations of the run: python -m distill_jax.evaluate --workdir {path} --list"
    )
    return directory
