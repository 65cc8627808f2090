"""The evaluation stage: restore the students, let them answer, write predictions and report."""

import hashlib
import json
import time
from typing import Any

import jax

from distill_jax import distributed, records, run_data, sharding
from distill_jax.evaluation import evaluate, guessers, report, summary
from distill_jax.restore_students import check_finished, chosen_steps, restore_params
from distill_jax.run_inputs import RunInputs
from distill_jax.workdir import read_json, write_json, write_text


def evaluate_students(inputs: RunInputs, *, headline: bool) -> dict[str, Any]:
    """Evaluate the finished students as config.evaluation and config.sampling say.

    Writes evaluations/<name>/{predictions.jsonl, report.json}, or reads them where they are there
    already. With `headline` the report also becomes the run's report.json and report.html.
    Returns the content of report.json.
    """
    finished = chosen_steps(inputs, check_finished(inputs))
    directory = inputs.workdir.evaluations / evaluation_name(inputs, finished)
    predictions_path, report_path = directory / "predictions.jsonl", directory / "report.json"
    if distributed.from_first(report_path.exists):
        inputs.terminal.say(f"evaluation: nothing left to do ({directory})")
        result = read_json(report_path)
        rows = records.read_json_lines(predictions_path)
        predictions = [records.prediction_from_dict(row) for _, row in rows]
    else:
        predictions, result = _evaluate(inputs, finished)
        if distributed.is_first():
            lines = [records.to_json(prediction) + "\n" for prediction in predictions]
            write_text(predictions_path, "".join(lines))
            write_json(report_path, result)
        inputs.terminal.say(f"predictions: {predictions_path}")
    if headline and distributed.is_first():
        write_headline(inputs, predictions, result)
    return result


def evaluation_name(inputs: RunInputs, finished: dict[str, int]) -> str:
    """<task>-<split>-<step>-<hash of what decides the predictions>."""
    keys = {
        "sampling": inputs.config.sampling.to_dict(),
        "evaluation": inputs.config.evaluation.to_dict(),
        "steps": finished,
    }
    digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]
    task = inputs.config.task.rpartition(".")[2]
    steps = "-".join(str(n) for n in sorted(set(finished.values())))
    return f"{task}-{inputs.config.evaluation.split}-{steps}-{digest}"


def _evaluate(
    inputs: RunInputs, finished: dict[str, int]
) -> tuple[list[records.Prediction], dict[str, Any]]:
    config = inputs.config
    problems = inputs.evaluation_problems(run_data.collect(inputs).dev)
    tokenizer = inputs.tokenizer()
    plan = inputs.plan(tokenizer)
    inputs.terminal.say(f"evaluating on {len(problems)} {config.evaluation.split} problems")
    began = time.monotonic()
    with (
        jax.set_mesh(sharding.make_mesh(**config.mesh)),
        inputs.terminal.progress("evaluating", len(problems)) as progress,
    ):
        predictions = evaluate.predict(
            problems,
            inputs.scheme,
            tokenizer,
            plan,
            restore_params(inputs, inputs.models(tokenizer), finished),
            inputs.task.grade,
            seed=config.seed,
            temperature=config.sampling.temperature,
            batch_size=config.sampling.batch_size,
            max_too_long_share=config.evaluation.max_too_long_share,
            on_batch=progress.update,
        )
    seconds = time.monotonic() - began
    train_problems = inputs.task.load(config.data.train_split, **inputs.task_options)
    return predictions, summary.summarise(
        predictions,
        task=config.task,
        split=config.evaluation.split,
        guessers=guessers.guess(problems, train_problems, inputs.task.grade),
        checkpoint_steps=finished,
        identity=inputs.identity(),
        seed=config.seed,
        seconds=seconds,
        checkpoint_rule=config.evaluation.checkpoint,
        sampling=config.sampling.to_dict(),
    )


def write_headline(
    inputs: RunInputs, predictions: list[records.Prediction], result: dict[str, Any]
) -> None:
    """report.json and report.html of the run, and the result on the terminal."""
    write_json(inputs.workdir.report_json, result)
    metric = "train/{}/loss"
    report.write_report(
        inputs.workdir.report_html,
        summary=result,
        predictions=predictions,
        loss_curves={s: inputs.metrics_file.curve(metric.format(s)) for s in inputs.students},
        title=f"{inputs.config.scheme} on {inputs.config.task.rpartition('.')[2]}",
        training=read_json(inputs.workdir.training_data),
    )
    _say_result(inputs, predictions, result)


def _say_result(
    inputs: RunInputs, predictions: list[records.Prediction], result: dict[str, Any]
) -> None:
    """Accuracy, guessers, one dialogue, and where the report is."""
    say = inputs.terminal.say
    low, high = result["accuracy_interval"]
    say(
        f"accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on "
        f"{result['n']} {result['split']} problems"
    )
    guesses = ", ".join(f"{k} {v['accuracy']:.1%}" for k, v in result["guessers"].items())
    say(f"cheap guessers: {guesses}")
    if predictions:
        shown = next((p for p in predictions if p.correct), predictions[0])
        say(f"one dialogue ({shown.id}, {'right' if shown.correct else 'wrong'}):")
        print(f"  problem: {shown.question}")
        for turn in shown.turns:
            text = turn.text.strip().replace("\n", "\n    ") or "(nothing)"
            print(f"  {turn.role}: {text}")
        print(f"  right answer: {shown.answer}")
    say(f"report: {inputs.workdir.report_html}")
