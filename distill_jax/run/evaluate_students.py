"""The evaluation stage: restore the students, let them answer, write predictions and report."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from distill_jax import distributed, records
from distill_jax.devices import size
from distill_jax.dialogues import predict
from distill_jax.dialogues.answerer import Answerer, Sampled
from distill_jax.dialogues.predict import grade_again
from distill_jax.dialogues.sampler import Sampler, to_keep
from distill_jax.errors import Interrupted
from distill_jax.evaluation import html_report, runs, summary
from distill_jax.evaluation.partial import PartialPredictions
from distill_jax.model import sharding
from distill_jax.run import ensemble, from_first, training_annotations
from distill_jax.run.ensemble import Member
from distill_jax.run.evaluation_problems import Asked, Made, ask, split_name
from distill_jax.run.evaluation_result import Sampling, result_of
from distill_jax.run.from_first import KnownStudents
from distill_jax.run.restore_students import chosen_steps
from distill_jax.run.run import Run
from distill_jax.run.stored_evaluation import (
    CURRENT,
    MISSING,
    OTHER_QUESTIONS,
    UNREADABLE,
    Standing,
    regraded,
    standing,
)
from distill_jax.sampling import slots
from distill_jax.sampling.generate import Chunk
from distill_jax.sampling.schedule import Work
from distill_jax.text.rows import encode_prompts
from distill_jax.tracking.reporting import Reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.tracking.trackers import EVALUATION, Tracking
from distill_jax.workdir import read_json, write_json, write_text


def evaluate_students(run: Run, reporting: Reporting, *, headline: bool) -> dict[str, Any]:
    """Evaluate the students as config.evaluation and config.sampling say.

    Writes evaluations/<name>/{predictions.jsonl, report.json, report.html}. Existing answers are
    kept. If the known answers or the grader have changed, they are graded again; if the questions
    have changed, the students are asked again; and if the data cannot be read, the old report is
    shown. With `headline` the report becomes the run's report.json, and report.html is there too; a
    new version of an existing report replaces it. Returns the content of report.json.
    """
    known = from_first.known_students(run)
    steps = chosen_steps(run, known)
    together = ensemble.members(run, known)
    directory = run.workdir.evaluations / evaluation_name(run, steps, together)
    first, say = distributed.is_first(), reporting.terminal.say
    stands = Standing(*distributed.from_first(lambda: standing(run, directory, known.facts)))
    old = read_json(directory / "report.json") if first and stands.word != MISSING else None
    shown = headline
    if first and not stands.stays and run.workdir.report_json.exists():
        shown = headline or read_json(run.workdir.report_json) == old
    predictions: list[records.Prediction] = []
    if stands.word in (MISSING, OTHER_QUESTIONS):
        if stands.word == OTHER_QUESTIONS:
            say(f"evaluation: the questions are not those of {directory}: asking again")
        partial = PartialPredictions(directory)
        predictions, result = _evaluate(run, reporting.terminal, known, together, partial)
        if first:
            _write(directory, predictions, result)
        distributed.wait_for_all("evaluated")
        partial.remove()
        if headline:
            _track(reporting.tracking, max(steps.values()), predictions, result)
        say(f"evaluation: {directory}")
    else:
        _say_standing(stands, directory, say)

        def stored() -> dict[str, Any]:
            if stands.stays:
                assert old is not None
                predictions.extend(runs.read_predictions(directory, old))
                return old
            graded, result, changed = regraded(run, directory, known.facts)
            predictions.extend(graded)
            _write(directory, graded, result)
            say(f"{changed} of {result['n']} answers are right or wrong where they were not")
            return result

        result = distributed.from_first(stored)
    if shown and first:
        write_headline(run, reporting, predictions, result)
    elif distributed.is_first():
        write_html(directory / "report.html", run, reporting, predictions, result)
    return result


def _write(
    directory: pathlib.Path, predictions: list[records.Prediction], result: dict[str, Any]
) -> None:
    report_path = directory / "report.json"
    # A report vouches for its predictions: it comes last.
    write_text(
        directory / "predictions.jsonl", "".join(records.to_json(p) + "\n" for p in predictions)
    )
    write_json(report_path, result)


def _say_standing(stands: Standing, directory: pathlib.Path, say: Callable[[str], None]) -> None:
    if stands.word == UNREADABLE:
        when = time.strftime(
            "%Y-%m-%d", time.localtime((directory / "report.json").stat().st_mtime)
        )
        say(
            f"warning: the data cannot be read ({stands.reason}): this is the old report of "
            f"{when}, which nobody has compared with it ({directory})"
        )
    elif stands.word == CURRENT:
        say(f"evaluation: nothing left to do ({directory})")
    else:
        say(
            "evaluation: the known answers or the grader have changed: grading again what was "
            f"written ({directory})"
        )


def _track(
    tracking: Tracking, step: int, predictions: list[records.Prediction], result: dict[str, Any]
) -> None:
    """The result among the run's other values, at the (latest) step of the students."""
    split = result["split"]
    tracking.open()
    tracking.start(EVALUATION, step - 1, [split])
    low, high = result["accuracy_interval"]
    values = {
        "accuracy": result["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "problems": result["n"],
        "turns": result["turns"]["mean"],
        "tokens": result["tokens"]["mean"],
    }
    tracking.write(split, EVALUATION, step, values)
    tracking.show(split, EVALUATION, step, summary.dialogues(predictions))


def evaluation_name(run: Run, steps: dict[str, int], together: Sequence[Member]) -> str:
    """<task>-<split>-<step>-<hash of what decides the predictions>; `together`: all who answer."""
    evaluation = run.config.evaluation.to_dict()
    if len(together) == 1:  # as before there were ensembles
        evaluation = {k: v for k, v in evaluation.items() if not k.startswith("ensemble")}
    keys: dict[str, Any] = {
        "sampling": to_keep(run.config.sampling.to_dict()),
        "evaluation": evaluation,
        "steps": steps,
    }
    if len(together) > 1:
        keys["members"] = [member.identity for member in together[1:]]
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]
    task = run.evaluated.name.rpartition(".")[2]
    numbers = "-".join(str(n) for n in sorted(set(steps.values())))
    return f"{task}-{run.config.evaluation.split}-{numbers}-{digest}"


def _evaluate(
    run: Run,
    terminal: Terminal,
    known: KnownStudents,
    together: list[Member],
    partial: PartialPredictions,
) -> tuple[list[records.Prediction], dict[str, Any]]:
    config, settings = run.config, run.sampling
    with terminal.watching():
        data = training_annotations.collect(run, terminal)
    tokenizer = from_first.tokenizer(run)
    asked = ask(run, Made(data.train, data.dev, tokenizer, known.facts))
    began = time.monotonic()
    with jax.set_mesh(sharding.make_mesh(**config.mesh)):
        rules, params = ensemble.rules_and_params(together, tokenizer)
        sampler = Sampler(rules, run.scheme, tokenizer, params, settings, config.seed)
        answered = _answer(run, terminal, sampler, asked, partial)
    seconds = time.monotonic() - began
    sampling = Sampling(together[0].steps, seconds, answered.slots, answered.filled_in)
    predictions, result = result_of(run, asked, answered.predictions, sampling)
    if len(together) > 1:
        result["combination"] = ensemble.facts(together, result)
    return predictions, result


class _Answered(NamedTuple):
    """The results of an evaluation, in the order of the problems."""

    predictions: list[records.Prediction]
    slots: int
    filled_in: int  # values of the calculator


def _answer(
    run: Run,
    terminal: Terminal,
    sampler: Sampler,
    what: Asked,
    partial: PartialPredictions,
) -> _Answered:
    """Let the students answer, except what is known already.

    Raises Interrupted in every process but the first, if that one stopped.
    """
    say, samples, asked = terminal.say, run.sampling.samples, what.dialogues
    known, total = _gather_known(run, partial, what), len(asked) * samples
    described = summary.asked(len(asked), len(what.problems), split_name(run), run.sampling.given)
    say(
        f"evaluating on {described}"
        + (f", {samples} dialogues each" if samples > 1 else "")
        + (f": {len(known)} of {total} dialogues are there already" if known else "")
    )
    problems = [problem for problem, _ in asked]
    say(_memory_line(sampler, total - len(known), problems))
    scripts = {problem.id: script for problem, script in asked}
    answerer: Answerer = predict.StudentsAnswerer(
        sampler,
        run.evaluated.grade,
        max_too_long_share=run.config.evaluation.max_too_long_share,
        script=lambda problem: scripts[problem.id],
        known={key: sampled.prediction for key, sampled in known.items()},
        name=ensemble.NAME if run.config.evaluation.ensemble else predict.STUDENTS,
    )
    predictions: dict[str, records.Prediction] = {}
    done, filled_in = len(known), sum(sampled.filled_in for sampled in known.values())
    process, processes, work = distributed.process_index(), distributed.processes(), Work()
    with (
        terminal.progress("evaluating", total, done) as progress,
        contextlib.closing(answerer.answer(problems)) as events,
    ):
        for event in events:
            if isinstance(event, records.Prediction):
                predictions[event.id] = event
            elif isinstance(event, Sampled):
                if done % processes == process:  # each keeps its share
                    partial.append(event)
                done += 1
                filled_in += event.filled_in
            elif isinstance(event, Chunk):
                work = event.work
                partial.flush()
                progress.update(done)
    if len(predictions) < len(problems):
        raise Interrupted
    if work.steps:
        say(f"{work.utilisation:.0%} of {work.slots} slots x {work.steps} steps wrote a token")
    return _Answered([predictions[p.id] for p in problems], work.slots, filled_in)


def _gather_known(
    run: Run, partial: PartialPredictions, asked: Asked
) -> dict[tuple[str, int], Sampled]:
    """The known predictions of all processes; all of them must call this.

    Each dialogue is graded again, because the answers may have changed since the stop.
    """
    scripts = {problem.id: (problem, script) for problem, script in asked.dialogues}
    found = {}
    for (name, sample), sampled in partial.gather().items():
        problem, script = scripts.get(name, (None, ()))
        # Not predictions of another question with the same id, from before a file was changed.
        if problem is None or sampled.prediction.question != problem.question:
            continue
        if sample < run.sampling.samples:
            graded = grade_again(
                problem, sampled.prediction, asked.reader, run.evaluated.grade, script
            )
            found[name, sample] = dataclasses.replace(sampled, prediction=graded)
    return found


def _memory_line(sampler: Sampler, dialogues: int, problems: Sequence[records.Problem]) -> str:
    """The line about the memory that the caches need at most."""
    prompts = encode_prompts(problems, sampler.scheme, sampler.tokenizer)
    longest = max(map(len, prompts), default=0)
    rules, slot_count = sampler.rules, sampler.slot_count(max(1, dialogues), longest)
    row = rules.cache_bytes(slots.longest_window(rules, longest))
    return (
        f"{html_report.counted(slot_count, 'dialogue')} at a time, caches of at most "
        f"{size(row)} each, {size(row * slot_count)} in all (config.sampling.slots)"
    )


# Metrics that have a figure in the report: name, heading and label. Most runs have the first one.
_CURVES = (
    ("train/{}/loss", "Training loss", "training loss"),
    ("rounds/{}/reward", "Reward of the rounds", "mean reward of a round"),
    ("rounds/{}/right", "Right samples of the rounds", "share of right samples"),
    ("rounds/{}/tokens_of_right", "Length of right samples", "tokens of a right sample"),
    ("train/{}/preferred", "Preferred answers", "share of pairs whose right answer is preferred"),
    ("train/{}/margin", "Margin of preferred answers", "margin of a pair"),
)


def write_headline(
    run: Run,
    reporting: Reporting,
    predictions: list[records.Prediction],
    result: dict[str, Any],
) -> None:
    """report.json and report.html of the run, and the result on the terminal."""
    write_json(run.workdir.report_json, result)
    write_html(run.workdir.report_html, run, reporting, predictions, result)
    _say_result(run, reporting.terminal, predictions, result)


def write_html(
    path: pathlib.Path,
    run: Run,
    reporting: Reporting,
    predictions: list[records.Prediction],
    result: dict[str, Any],
) -> None:
    """The page of one evaluation, at `path`."""
    options = ", ".join(run.config.evaluation.task_options)
    html_report.write_report(
        path,
        summary=result,
        predictions=predictions,
        curves=[
            html_report.Curve(
                heading,
                label,
                {
                    student: reporting.metrics_file.curve(name.format(student))
                    for student in run.students
                },
            )
            for name, heading, label in _CURVES
        ],
        title=f"{run.config.scheme} on {result['task'].rpartition('.')[2]}"
        + (f", {options}" if options else ""),
        training=read_json(run.workdir.training_data),
    )


def _say_result(
    run: Run,
    terminal: Terminal,
    predictions: list[records.Prediction],
    result: dict[str, Any],
) -> None:
    """Accuracy, guessers, one dialogue, and where the report is."""
    say = terminal.say
    for line in summary.closing_lines(result):
        say(line)
    guesses = ", ".join(f"{k} {v['accuracy']:.1%}" for k, v in result["guessers"].items())
    say(f"cheap guessers: {guesses}")
    if predictions:
        shown = next((p for p in predictions if p.correct), predictions[0])
        say(f"one dialogue ({shown.id}, {'right' if shown.correct else 'wrong'}):")
        terminal.show(textwrap.indent(summary.dialogue(shown), "  "))
    say(f"report: {run.workdir.report_html}")
