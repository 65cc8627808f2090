"""What a run's students were before it: weights that others published, students of other runs.

What those had learned is not among the run's own annotations, so a question of the evaluation may
be known from there. It is looked for where the other run is at hand; of published weights nobody
can say it.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import records
from distill_jax.errors import UserError
from distill_jax.records import Annotation
from distill_jax.run import student_source
from distill_jax.workdir import Workdir, local_path, read_facts

BEGAN_AS = "began_as"  # in training_data.json: published weights, described


@dataclasses.dataclass(frozen=True)
class Origins:
    """All that students began as or were taught by, however many runs ago.

    published  weights that others made, described
    runs       directories of runs that are at hand
    missing    those that are not
    """

    published: list[str] = dataclasses.field(default_factory=list)
    runs: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)

    def learned(self) -> Iterator[Annotation]:
        """The annotations of `runs`, their ids followed by where they are."""
        for run in self.runs:
            for annotation in records.annotations_in(Workdir(run).annotations):
                yield dataclasses.replace(annotation, id=f"{annotation.id} in {run}")

    def to_json(self) -> dict[str, list[str]]:
        """What report.json says of them; {} if the students began as nothing."""
        return {name: each for name, each in dataclasses.asdict(self).items() if each}


def add(
    found: Origins, config: Mapping[str, Any], students: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add the origins of the students of a run to `found`, and those of the runs that they are
    from; `students` are those of its training_data.json."""
    for student, facts in students.items():
        # Keys may be newer than the config.
        first = config["model"][student].get("init_from")
        if first:
            _add_one(found, first, facts.get(BEGAN_AS, first))
        loss = config.get("loss", {})
        if loss.get("divergence"):
            directory = local_path(loss["teacher"], "config.loss.teacher")
            is_run = (directory / "training_data.json").exists()
            teacher = str(directory / "checkpoints" / student) if is_run else loss["teacher"]
            _add_one(found, teacher, teacher)


def _add_one(found: Origins, name: str, described: str) -> None:
    other = student_source.other_run(name)
    if other is not None:
        _add_run(found, *other)
    elif described not in found.published:
        found.published.append(described)


def _add_run(found: Origins, run: pathlib.Path, student: str) -> None:
    workdir = Workdir(run)
    try:
        config, facts = workdir.stored_config(), read_facts(workdir.training_data)[student]
    except UserError:
        _note(found.missing, run)
        return
    if not workdir.annotations.exists():
        _note(found.missing, run)
        return
    _note(found.runs, run)
    add(found, config, {student: facts})


def _note(names: list[str], run: pathlib.Path) -> None:
    if str(run) not in names:
        names.append(str(run))
