"""The annotations of a run: collecting them, the dev split, and the files that are written."""

import collections
import dataclasses
import functools
import os
import pathlib
import platform
import shutil
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NamedTuple

import jax

from distill_jax import distributed, records
from distill_jax.annotations import harvest, mixture
from distill_jax.annotations.duplicates import drop_duplicates
from distill_jax.annotations.harvest import Harvest
from distill_jax.annotations.import_formats import PREDICTIONS
from distill_jax.annotations.leaks import LISTED, Leaks, Overlap, most_alike, normalised
from distill_jax.annotations.subsets import (
    first_problems,
    fold_of_questions,
    hold_out,
    share_of_questions,
)
from distill_jax.annotations.summary import summarise, table
from distill_jax.annotations.verify import (
    Rejected,
    has_false_equation,
    names_no_answer,
    reject,
    verify,
)
from distill_jax.errors import UserError
from distill_jax.run import easy_problems
from distill_jax.run.annotation_sources import (
    Desk,
    Source,
    annotations_of,
    leak_problems,
    make_mixture,
)
from distill_jax.run.run import Run
from distill_jax.tasks.multiple_choice import without_letter
from distill_jax.teacher.settings import NOTHING, Spending
from distill_jax.text import tokenizer as text_tokenizer
from distill_jax.tracking import progress
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir, some_of, write_json, write_parts


class RunData(NamedTuple):
    """The annotations that students train on, and those for the dev measurements."""

    train: list[records.Annotation]
    dev: list[records.Annotation]
    rejected: list[Rejected]
    overlaps: list[Overlap]  # with questions of the evaluation, for people to read
    usage: str = ""  # what was done with the problems, in one line; "" if they were not read


def collect(run: Run, terminal: Terminal, spending: Spending = NOTHING) -> RunData:
    """The annotations of process 0, in every process; the rejected ones only there.

    They are those of the directory if it has some (the rejected ones are then not read again);
    otherwise they come from the task. Raises UserError if none is left.
    """
    if jax.process_count() == 1:
        return _read(run, terminal, spending)

    def first() -> list[list[dict[str, Any]]]:
        data = _read(run, terminal, spending)
        rejected.extend(data.rejected)
        overlaps.extend(data.overlaps)
        usage.append(data.usage)
        return [[dataclasses.asdict(each) for each in part] for part in (data.train, data.dev)]

    rejected: list[Rejected] = []
    overlaps: list[Overlap] = []
    usage: list[str] = []
    train, dev = (
        [records.annotation_from_dict(row) for row in part]
        for part in distributed.from_first(first)
    )
    return RunData(train, dev, rejected, overlaps, "".join(usage))


def _read(run: Run, terminal: Terminal, spending: Spending) -> RunData:
    workdir = run.workdir
    if not workdir.annotations.exists() or run.takes_over:
        return annotate(run, terminal, spending)
    if not workdir.dev_annotations.exists():
        raise UserError(
            f"{workdir.dev_annotations} is missing: put it back, or start a new --workdir"
        )
    return RunData(*read_stored(workdir), [], [])


def read_stored(workdir: Workdir) -> tuple[list[records.Annotation], list[records.Annotation]]:
    """(train, dev) of a directory that has them."""
    train, dev = map(_stored, (workdir.annotations, workdir.dev_annotations))
    return train, dev


def _stored(path: pathlib.Path) -> list[records.Annotation]:
    found, lines = records.annotations_in(path), records.count_lines(path)
    return list(progress.each(found, f"reading {path.name}", lines))


def annotate(run: Run, terminal: Terminal, spending: Spending) -> RunData:
    """The annotations of the config, collected from their source, checked, and split."""
    desk = Desk(run, terminal, spending)
    data = run.config.data
    held_out = 0 if data.dev_split else data.dev_problems
    most = data.train_problems + held_out if data.train_problems else 0
    train, rejected, usage = _verified(desk, data.train_split, most)
    leaks = Leaks(leak_problems(run), templated=data.templated, most=data.max_overlap)
    train, leaked, overlaps = leaks.drop(train)
    if not train:
        _write_rejected(run, terminal, [*rejected, *leaked])
        reasons = ", ".join(sorted({each.reason for each in leaked}))
        raise UserError(
            f"{run.config.task} {data.train_split}: all {len(leaked)} annotations are dropped "
            f"({reasons}; first {leaked[0].id}: {leaked[0].detail}): for questions that are "
            "meant to differ in numbers only, set --config.data.templated=True"
        )
    if leaked:
        usage += f", {len(leaked)} dropped as questions of the evaluation"
        if not data.templated:
            usage += " (except for numbers; if you intend that, set --config.data.templated=True)"
    rejected += leaked
    if data.dev_split and data.dev_problems:
        dev, rejected_dev, usage_dev = _verified(desk, data.dev_split, data.dev_problems)
        # Rows of files that belong to no dev problem were already handled above.
        rejected += [each for each in rejected_dev if each.reason != "unknown problem"]
        dev = _mixed(run, first_problems(dev, data.dev_problems))
        measured = {annotation.question for annotation in dev}
        train = [annotation for annotation in train if annotation.question not in measured]
        if not train:
            raise UserError(
                f"config.data.dev_split={data.dev_split}: its {len(dev)} questions are all that "
                "there are to train on: choose another split, or fewer config.data.dev_problems"
            )
        usage += f"; dev: {usage_dev}, {len(dev)} used"
    else:
        train, dev = hold_out(train, data.dev_problems, data.train_problems)
        dev = _mixed(run, dev)
        usage += f", {len(dev)} held out for dev"
    train = fold_of_questions(train, data.fold)
    if not train:
        raise UserError(f"config.data.fold={data.fold}: no training question is in this fold")
    # One of the two gets all.
    train = first_problems(share_of_questions(train, data.train_share), data.train_problems)
    train = _mixed(run, train)
    train, hard, said = easy_problems.treat(run, train)
    rejected += hard
    usage += said
    usage += f"; {len(train)} to train on{_of_files(run, train)}"
    return RunData(train, dev, rejected, overlaps, usage)


def _mixed(run: Run, annotations: list[records.Annotation]) -> list[records.Annotation]:
    """The annotations of each problem from one file, if config.data.mixture is set."""
    mixed = make_mixture(run)
    return annotations if mixed is None else mixture.assign(annotations, mixed)


def _of_files(run: Run, annotations: list[records.Annotation]) -> str:
    """How many come from each file, if files are mixed: " (1 of long.jsonl, 4 of short.jsonl)"."""
    if (mixed := make_mixture(run)) is None:
        return ""
    counts = collections.Counter(annotation.source["file"] for annotation in annotations)
    return f" ({', '.join(f'{counts[file]} of {file}' for file in mixed.files)})"


def _refuse_sampled(run: Run, rejected: Sequence[Rejected]) -> None:
    """Raise UserError if a file of predictions answers questions of the evaluation: of no training
    problem, so none is trained on, but our own students should not be asked them for training."""
    own = [r for r in rejected if str(r.source.get("format", "")).startswith(PREDICTIONS.name)]
    asked = {normalised(p.question): p.id for p in leak_problems(run)} if own else {}
    for each in own:
        if normalised(each.question) in asked:
            raise UserError(
                f"config.data.annotations: {each.source['file']} holds answers to questions of the "
                f"evaluation (the first is {asked[normalised(each.question)]}): ask the training "
                "problems instead, python -m distill_jax.evaluate --config.evaluation.split=train"
            )


def _verified(
    desk: Desk, split: str, most: int
) -> tuple[list[records.Annotation], list[Rejected], str]:
    """(kept, rejected, what became of the problems of a split)."""
    run, source = desk.run, annotations_of(desk, split, most)
    kept, rejected = _check(run, source)
    _refuse_sampled(run, rejected)
    if not kept:
        reason = "there are none: give rows steps, or name a teacher (config.teacher.model)"
        if rejected:
            first = rejected[0]
            question = records.shorten(first.question)
            why = f"{first.reason}: {first.detail}" if first.detail else first.reason
            _write_rejected(run, desk.terminal, rejected)
            listed = run.workdir.rejected_annotations
            named = f"{first.id} {question!r}".strip()
            reason = f"{named}: {why}; all {len(rejected)} are in {listed}"
        if split == run.config.data.dev_split:
            raise UserError(
                f"{run.config.task}: no annotation of a {split} problem ({reason}): set "
                "config.data.dev_split= to hold out training problems instead, or "
                "config.data.dev_problems=0"
            )
        raise UserError(f"{run.config.task} {split}: no annotation to train on ({reason})")
    usage = f"{len(source.problems)} problems: {source.said}{len(rejected)} rejected"
    if (mixed := make_mixture(run)) is not None:
        usage += f", {len({a.id for a in kept})} problems in all {len(mixed.files)} files"
    return kept, rejected, usage


def _write_rejected(run: Run, terminal: Terminal, rejected: Sequence[Rejected]) -> None:
    """Write the files that explain why nothing is kept; only process 0 gets here."""
    write_lines(run.workdir.rejected_annotations, rejected)
    terminal.show(table(summarise([], rejected)))


def checked(desk: Desk, split: str, most: int) -> tuple[list[records.Annotation], list[Rejected]]:
    """(kept, rejected) of the first `most` problems, without the search for leaks: for a trial."""
    return _check(desk.run, annotations_of(desk, split, most))


def _check(run: Run, source: Source) -> tuple[list[records.Annotation], list[Rejected]]:
    data = run.config.data
    kept, wrong = verify(
        source.annotations,
        source.problems,
        run.task.grade,
        equations=data.false_equations,
    )
    if not data.choice_letters:
        kept, lettered = _without_letters(kept)
        wrong += lettered
    kept, unwanted = harvest.sift(kept, Harvest(**run.config.harvest))
    wrong += unwanted
    drop_copies = functools.partial(
        drop_duplicates,
        most=data.annotations_per_problem,
        near=data.near,
        words_in_a_row=data.near_words,
        subquestions=run.scheme.asks,
    )
    mixed = make_mixture(run)
    if mixed is None:
        kept, others = drop_copies(kept)
        return kept, [*source.rejected, *wrong, *others]
    # An annotation is not a copy of one in another file, because a problem is learned from one
    # file.
    parts = [[a for a in kept if a.source["file"] == file] for file in mixed.files]
    checked_parts = [drop_copies(part) for part in parts]
    kept, others = mixture.common([a for part, _ in checked_parts for a in part], mixed)
    copies = [each for _, some in checked_parts for each in some]
    return kept, [*source.rejected, *wrong, *copies, *others]


def _without_letters(
    annotations: Sequence[records.Annotation],
) -> tuple[list[records.Annotation], list[Rejected]]:
    """(those whose answer is a text now, those of which that cannot be)."""
    pairs = [(annotation, without_letter(annotation)) for annotation in annotations]
    rejected = [
        reject(old, "no choice", f"answer {old.answer!r} is no choice that a text alone can name")
        for old, new in pairs
        if old.answer == new.answer
    ]
    return [new for old, new in pairs if old.answer != new.answer], rejected


def write(run: Run, data: RunData, tokenizer: text_tokenizer.Tokenizer, terminal: Terminal) -> Run:
    """Process 0 writes the files that the students are made from; existing files do not change.

    Returns the run, whose directory is its own from now on.
    """
    run = write_annotations(run, data, terminal)
    workdir = run.workdir
    if distributed.is_first() and not workdir.tokenizer.exists():
        temporary = workdir.tokenizer.with_name(".tokenizer.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        tokenizer.save(temporary)
        os.replace(temporary, workdir.tokenizer)
    return run


def write_annotations(run: Run, data: RunData, terminal: Terminal) -> Run:
    """Process 0 writes the config and the annotations, if they are not there yet.

    Returns the run, whose directory is its own from now on.
    """
    own = dataclasses.replace(run, takes_over=False)
    if not distributed.is_first():
        return own
    workdir = run.workdir
    if run.takes_over:
        keys = some_of(workdir.differences(run.identity()))
        terminal.say(f"replacing another run that has no checkpoint yet ({keys})")
        workdir.clear()
    # The config first, because after a crash nobody could tell which run files without it belong
    # to.
    workdir.write_config(run.config.to_dict(), run.identity())
    write_json(workdir.environment, _environment())
    terminal.keep_log(workdir.log)
    if data.usage:  # collected now, not read from here
        workdir.annotations.unlink(missing_ok=True)
        write_lines(workdir.rejected_annotations, data.rejected)
        write_lines(workdir.overlaps, most_alike(data.overlaps))
        write_lines(workdir.dev_annotations, data.dev)
        summary = summarise([*data.train, *data.dev], data.rejected)
        write_json(workdir.summary, summary)
        # The last of them, so that if it exists, the others do.
        write_lines(workdir.annotations, data.train)
        if data.rejected:
            terminal.show(table(summary))
        _say_what_became_of_rows(run, data, terminal)
    return own


def _say_what_became_of_rows(run: Run, data: RunData, terminal: Terminal) -> None:
    say, workdir = terminal.say, run.workdir
    say(f"{run.config.task}: {data.usage}")
    if data.rejected:
        say(f"{len(data.rejected)} annotations were rejected: {workdir.rejected_annotations}")
    kept = progress.each(data.train, "reading last steps", len(data.train))
    if doubtful := [each for each in kept if names_no_answer(each)]:
        first = doubtful[0]
        say(
            f"{len(doubtful)} of {len(data.train)} end in a step that does not name the answer, "
            f"and are trained on: look at {first.id} (answer {records.shorten(first.answer)})"
        )
    if false := _count_false_equations(run, data.train):
        say(
            f"{false} of {len(data.train)} hold an equation that is false, and are trained on: "
            "--config.data.false_equations=reject leaves them out"
        )
    if data.overlaps:
        listed = "they are listed in"
        if len(data.overlaps) > LISTED:
            listed = f"the {LISTED} that share most are listed in"
        say(
            f"{len(data.overlaps)} training questions share 8 words or more in a row with one of "
            f"the evaluation; {listed} {workdir.overlaps}"
        )


def _count_false_equations(run: Run, annotations: Sequence[records.Annotation]) -> int:
    if run.config.data.false_equations == "reject":
        return 0  # they were
    kept = progress.each(annotations, "checking equations", len(annotations))
    return sum(map(has_false_equation, kept))


def write_lines(path: pathlib.Path, rows: Sequence[Any]) -> None:
    """A file of JSON lines, one per record."""
    shown = progress.each(rows, f"writing {path.name}", len(rows))
    write_parts(path, (records.to_json(row) + "\n" for row in shown))


def _environment() -> dict[str, Any]:
    """Versions and devices that made the run's numbers."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers")
    return {
        "distill_jax": metadata.version("distill-jax"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "packages": {name: metadata.version(name) for name in packages},
    }
