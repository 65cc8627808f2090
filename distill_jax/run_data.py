"""The annotations of a run: where they come from, the dev split, and what is written of them."""

import dataclasses
import hashlib
import os
import platform
import shutil
from importlib import metadata
from typing import Any, NamedTuple

import jax

from distill_jax import distributed, records
from distill_jax.annotations.verify import Rejected, verify
from distill_jax.errors import UserError
from distill_jax.run_inputs import RunInputs
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.workdir import some_of, write_json, write_text


class RunData(NamedTuple):
    """The annotations that students train on, and those that they are measured on meanwhile."""

    train: list[records.Annotation]
    dev: list[records.Annotation]
    rejected: list[Rejected]
    usage: str = ""  # what became of the problems, in one line; "" where they were not read


def collect(inputs: RunInputs) -> RunData:
    """The annotations of process 0, in every process; the rejected ones only there.

    They are the directory's where it has them (the rejected ones are then not read again), and
    else come from the task. Raises UserError where none is left.
    """
    if jax.process_count() == 1:
        return _read(inputs)

    def first() -> list[list[dict[str, Any]]]:
        data = _read(inputs)
        rejected.extend(data.rejected)
        usage.append(data.usage)
        return [[dataclasses.asdict(each) for each in part] for part in (data.train, data.dev)]

    rejected: list[Rejected] = []
    usage: list[str] = []
    train, dev = (
        [records.annotation_from_dict(row) for row in part]
        for part in distributed.from_first(first)
    )
    return RunData(train, dev, rejected, "".join(usage))


def _read(inputs: RunInputs) -> RunData:
    workdir = inputs.workdir
    if not workdir.annotations.exists() or inputs.takes_over:
        return _from_task(inputs)
    if not workdir.dev_annotations.exists():
        raise UserError(
            f"{workdir.dev_annotations} is missing: put it back, or start a new --workdir"
        )
    train, dev = (
        [records.annotation_from_dict(row) for _, row in records.read_json_lines(path)]
        for path in (workdir.annotations, workdir.dev_annotations)
    )
    return RunData(train, dev, [])


def _from_task(inputs: RunInputs) -> RunData:
    data = inputs.config.data
    train, rejected, usage = _verified(inputs, data.train_split)
    if data.dev_split and data.dev_problems:
        dev, rejected_dev, usage_dev = _verified(inputs, data.dev_split)
        dev, rejected = dev[: data.dev_problems], rejected + rejected_dev
        asked = {annotation.question for annotation in dev}
        train = [annotation for annotation in train if annotation.question not in asked]
        usage += f"; dev: {usage_dev}, {len(dev)} used"
    else:
        train, dev = hold_out(train, data.dev_problems)
        usage += f", {len(dev)} held out for dev"
    train = train[: data.train_problems] if data.train_problems else train
    return RunData(train, dev, rejected, f"{usage}; {len(train)} to train on")


def hold_out(
    annotations: list[records.Annotation], count: int
) -> tuple[list[records.Annotation], list[records.Annotation]]:
    """(train, dev): `count` questions, at most a tenth of them, chosen by a hash of the question.

    The choice does not depend on order or seed, and all annotations of a question go together.
    """
    hashes = {a.question: hashlib.sha256(a.question.encode()).digest() for a in annotations}
    chosen = set(sorted(hashes, key=hashes.__getitem__)[: min(count, len(hashes) // 10)])
    dev = [a for a in annotations if a.question in chosen]
    return [a for a in annotations if a.question not in chosen], dev


def _verified(
    inputs: RunInputs, split: str
) -> tuple[list[records.Annotation], list[Rejected], str]:
    """(kept, rejected, what became of the problems of a split)."""
    task, name = inputs.task, inputs.config.task
    problems = task.load(split, **inputs.task_options)
    if inputs.scheme.name == "answer_only":
        # Nothing but question and answer is needed, so problems without steps will do.
        annotations = [
            records.Annotation(p.id, p.question, p.answer, (), {"kind": "gold"}) for p in problems
        ]
    else:
        annotations = task.load_annotations(split, **inputs.task_options)
    records.refuse_duplicates(annotations, f"the annotations of {name}")
    kept, rejected = verify(annotations, problems, task.grade)
    if not kept:
        reason = "there are none"
        if rejected:
            question = records.shorten(rejected[0].annotation.question)
            reason = f"{rejected[0].id} {question!r}: {rejected[0].reason}"
        raise UserError(f"{name} {split}: no annotation to train on ({reason})")
    with_steps = "" if inputs.scheme.name == "answer_only" else f"{len(annotations)} with steps, "
    return kept, rejected, f"{len(problems)} problems: {with_steps}{len(rejected)} rejected"


def write(inputs: RunInputs, data: RunData, tokenizer: text_tokenizer.Tokenizer) -> None:
    """Process 0 writes what the students are made from; what is there already stays as it is."""
    takes_over, inputs.takes_over = inputs.takes_over, False
    if not distributed.is_first():
        return
    workdir = inputs.workdir
    if takes_over:
        keys = some_of(workdir.differences(inputs.identity()))
        inputs.terminal.say(f"replacing another run that has no checkpoint yet ({keys})")
        workdir.clear()
    # The config first: files without it would belong to nobody after a crash.
    workdir.write_config(inputs.config.to_dict(), inputs.identity())
    write_json(workdir.environment, _environment())
    inputs.terminal.keep_log(workdir.log)
    if not workdir.annotations.exists():
        lines = [records.to_json(each) + "\n" for each in data.rejected]
        write_text(workdir.rejected_annotations, "".join(lines))
        write_text(workdir.dev_annotations, "".join(records.to_json(a) + "\n" for a in data.dev))
        # The last of them: where it is, the others are.
        write_text(workdir.annotations, "".join(records.to_json(a) + "\n" for a in data.train))
    if data.usage:
        inputs.terminal.say(f"{inputs.config.task}: {data.usage}")
    if data.rejected:
        inputs.terminal.say(
            f"{len(data.rejected)} annotations were rejected: {workdir.rejected_annotations}"
        )
    if not workdir.tokenizer.exists():
        temporary = workdir.tokenizer.with_name(".tokenizer.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        tokenizer.save(temporary)
        os.replace(temporary, workdir.tokenizer)


def _environment() -> dict[str, Any]:
    """Versions and devices, for config.json's sake: what made these numbers."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers")
    return {
        "distill_jax": metadata.version("distill-jax"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "packages": {name: metadata.version(name) for name in packages},
    }
