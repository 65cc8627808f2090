"""The evaluation stage: restore the students, let them answer, write predictions and report."""

import contextlib
import hashlib
import json
import pathlib
import textwrap
import time
from typing import Any, NamedTuple

import jax

from distill_jax import distributed, records
from distill_jax.devices import size
from distill_jax.dialogues import given, predict
from distill_jax.dialogues.answerer import Answerer, Sampled
from distill_jax.dialogues.sampler import Sampler, make_rules
from distill_jax.errors import Interrupted
from distill_jax.evaluation import guessers, html_report, runs, summary
from distill_jax.evaluation.partial import PartialPredictions
from distill_jax.model import sharding
from distill_jax.run import from_first, training_annotations
from distill_jax.run.evaluation_problems import evaluation_problems, gold_annotations
from distill_jax.run.from_first import KnownStudents
from distill_jax.run.restore_students import chosen_steps, restore_params
from distill_jax.run.run import Run
from distill_jax.run.student_setup import sizes
from distill_jax.sampling import slots
from distill_jax.sampling.generate import Chunk
from distill_jax.sampling.schedule import Work
from distill_jax.sampling.turn_rules import TurnRules
from distill_jax.tracking.reporting import Reporting
from distill_jax.tracking.terminal import Terminal
from distill_jax.tracking.trackers import EVALUATION, Tracking
from distill_jax.workdir import read_json, write_json, write_text


def evaluate_students(run: Run, reporting: Reporting, *, headline: bool) -> dict[str, Any]:
    """Evaluate the students as config.evaluation and config.sampling say.

    Writes evaluations/<name>/{predictions.jsonl, report.json}, or reads them if they exist, and
    report.html beside them. With `headline` the report becomes the run's report.json, and
    report.html is there too. Returns the content of report.json.
    """
    known = from_first.known_students(run)
    steps = chosen_steps(run, known)
    directory = run.workdir.evaluations / evaluation_name(run, steps)
    predictions_path, report_path = directory / "predictions.jsonl", directory / "report.json"
    if distributed.from_first(report_path.exists):
        reporting.terminal.say(f"evaluation: nothing left to do ({directory})")
        result = read_json(report_path)
        predictions = list(runs.read_predictions(directory, result))
    else:
        partial = PartialPredictions(directory)
        predictions, result = _evaluate(run, reporting.terminal, known, steps, partial)
        if distributed.is_first():
            lines = [records.to_json(prediction) + "\n" for prediction in predictions]
            write_text(predictions_path, "".join(lines))
            write_json(report_path, result)
        distributed.wait_for_all("evaluated")
        partial.remove()
        if headline:
            _track(reporting.tracking, max(steps.values()), predictions, result)
        reporting.terminal.say(f"evaluation: {directory}")
    if headline and distributed.is_first():
        write_headline(run, reporting, predictions, result)
    elif distributed.is_first():
        write_html(directory / "report.html", run, reporting, predictions, result)
    return result


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


def evaluation_name(run: Run, steps: dict[str, int]) -> str:
    """<task>-<split>-<step>-<hash of what decides the predictions>."""
    keys = {
        "sampling": run.config.sampling.to_dict(),
        "evaluation": run.config.evaluation.to_dict(),
        "steps": steps,
    }
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]
    task = run.evaluated.name.rpartition(".")[2]
    numbers = "-".join(str(n) for n in sorted(set(steps.values())))
    return f"{task}-{run.config.evaluation.split}-{numbers}-{digest}"


def _evaluate(
    run: Run,
    terminal: Terminal,
    known: KnownStudents,
    steps: dict[str, int],
    partial: PartialPredictions,
) -> tuple[list[records.Prediction], dict[str, Any]]:
    config, split, settings = run.config, run.config.evaluation.split, run.sampling
    held_out = training_annotations.collect(run, terminal).dev
    problems = evaluation_problems(run, held_out)
    gold = gold_annotations(run, problems) if given.needs_gold(settings) else {}
    tokenizer = from_first.tokenizer(run)
    models = sizes(run, tokenizer, known.facts)
    began = time.monotonic()
    with jax.set_mesh(sharding.make_mesh(**config.mesh)):
        params = restore_params(run, models, steps)
        rules = make_rules(run.scheme, run.views, models, tokenizer, settings)
        sampler = Sampler(rules, run.scheme, tokenizer, params, settings, config.seed)
        asked = given.with_scripts(problems, gold, sampler)
        what = summary.asked(len(asked), len(problems), split, settings.given)
        answered = _answer(run, terminal, sampler, asked, what, partial)
    train_problems = run.task.load(config.data.train_split)
    predictions = answered.predictions
    guesses = guessers.guess([problem for problem, _ in asked], train_problems, run.evaluated.grade)
    circumstances = summary.Circumstances(
        task=run.evaluated.name,
        split=split,
        checkpoint_steps=steps,
        identity=run.identity(),
        seed=config.seed,
        seconds=time.monotonic() - began,
        sampling=config.sampling.to_dict() | {"slots": answered.slots},
        checkpoint_rule=config.evaluation.checkpoint,
    )
    result = summary.summarise(predictions, guesses, circumstances)
    result |= {"problems": len(problems), "evaluation": config.evaluation.to_dict()}
    if settings.given:
        result["ended_in_given"] = _ended_in_given(asked, predictions, rules)
    if settings.calculator:
        result["values_filled_in"] = answered.filled_in
    return predictions, result


def _ended_in_given(
    asked: given.Problems, predictions: list[records.Prediction], rules: TurnRules
) -> int:
    """How many dialogues, over all samples, were stopped inside their given part."""
    return sum(
        given.ended_in_given(script, dialogue.turns, dialogue.status, rules)
        for (_, script), prediction in zip(asked, predictions, strict=True)
        for dialogue in prediction.samples or (prediction,)
    )


class _Answered(NamedTuple):
    """The results of an evaluation, in the order of the problems."""

    predictions: list[records.Prediction]
    slots: int
    filled_in: int  # values of the calculator


def _answer(
    run: Run,
    terminal: Terminal,
    sampler: Sampler,
    asked: given.Problems,
    what: str,
    partial: PartialPredictions,
) -> _Answered:
    """Let the students answer, except what is known already. `what` describes the problems.

    Raises Interrupted in every process but the first, if that one stopped.
    """
    say, samples = terminal.say, run.sampling.samples
    known, total = _gather_known(partial, asked, samples), len(asked) * samples
    say(
        f"evaluating on {what}"
        + (f", {samples} dialogues each" if samples > 1 else "")
        + (f": {len(known)} of {total} dialogues are there already" if known else "")
    )
    say(_memory_line(sampler, total - len(known)))
    scripts = {problem.id: script for problem, script in asked}
    answerer: Answerer = predict.StudentsAnswerer(
        sampler,
        run.evaluated.grade,
        max_too_long_share=run.config.evaluation.max_too_long_share,
        script=lambda problem: scripts[problem.id],
        known={key: sampled.prediction for key, sampled in known.items()},
    )
    problems = [problem for problem, _ in asked]
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
    partial: PartialPredictions, asked: given.Problems, samples: int
) -> dict[tuple[str, int], Sampled]:
    """The known predictions of all processes; all of them must call this."""
    wanted = {(problem.id, sample): problem for problem, _ in asked for sample in range(samples)}
    return {
        key: sampled
        for key, sampled in partial.gather().items()
        # Not predictions of another question with the same id, from before a file was changed.
        if key in wanted
        and (sampled.prediction.question, sampled.prediction.answer)
        == (wanted[key].question, wanted[key].answer)
    }


def _memory_line(sampler: Sampler, dialogues: int) -> str:
    """The line about the memory that the caches need at most."""
    rules, slot_count = sampler.rules, sampler.slot_count(max(1, dialogues))
    row = rules.cache_bytes(slots.longest_window(rules))
    return (
        f"{slot_count} dialogues at a time, caches of at most {size(row)} each, "
        f"{size(row * slot_count)} in all (config.sampling.slots)"
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
    curve = reporting.metrics_file.curve
    options = ", ".join(run.config.evaluation.task_options)
    html_report.write_report(
        path,
        summary=result,
        predictions=predictions,
        loss_curves={student: curve(f"train/{student}/loss") for student in run.students},
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
        print(textwrap.indent(summary.dialogue(shown), "  "))
    say(f"report: {run.workdir.report_html}")
