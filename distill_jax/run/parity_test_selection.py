"""Test scores after every epoch, to compare with papers that chose their epoch by the test set.

They are written to parity_test_selection.json and metrics.jsonl. Training, the kept checkpoints and
the run's own result do not depend on them. The best of them is not a result, but the number that
such a paper would have reported.
"""

from collections.abc import Callable
from typing import Any

from distill_jax import distributed
from distill_jax.evaluation.summary import scores
from distill_jax.records import Prediction
from distill_jax.run.dev_measurement import greedy_predictions
from distill_jax.run.preparation import Prepared
from distill_jax.run.run import Run
from distill_jax.run.student_setup import StudentSetup, epoch_end
from distill_jax.tracking.reporting import Reporting
from distill_jax.training.hooks import MeasurementInterrupted
from distill_jax.training.loop import Moment
from distill_jax.workdir import read_json, write_json

KEY = "parity_test_selection"


class ParityTestSelection:
    """A hook of `loop.train`, for a student that answers alone."""

    def __init__(
        self,
        run: Run,
        reporting: Reporting,
        setup: StudentSetup,
        prepared: Prepared,
        first_step: int,
        whole: Callable[[Any], Any],
    ):
        """Scores up to `first_step` are kept; a resumed run makes the later ones again. `whole`
        makes parameters from what is trained."""
        self._run, self._reporting, self._student = run, reporting, setup.student
        self._prepared, self._whole = prepared, whole
        share = setup.facts["epochs"] / setup.facts["steps"]
        epochs = range(1, run.config.train.epochs + 1)
        self._epochs = {epoch_end(epoch, share): epoch for epoch in epochs}
        self._problems = run.task.load("test")
        path = run.workdir.parity_test_selection
        known = distributed.from_first(lambda: read_json(path) if path.exists() else {"epochs": []})
        self._rows = [row for row in known["epochs"] if row["step"] <= first_step]
        reporting.metrics_file.forget_after(first_step, f"{KEY}/")

    def __call__(self, moment: Moment) -> None:
        """Score an epoch that has ended. A signal ends training here; the epoch is scored after a
        resume."""
        step = moment.step
        if step not in self._epochs or any(row["step"] == step for row in self._rows):
            return
        try:
            with moment.stopwatch.pause(moment.state):
                predictions = greedy_predictions(
                    self._run,
                    self._prepared,
                    {self._student: self._whole(moment.state.params)},
                    self._problems,
                )
        except MeasurementInterrupted:
            moment.interrupted = moment.stop = True
            return
        self._keep(step, predictions)

    def _keep(self, step: int, predictions: list[Prediction]) -> None:
        accuracy = sum(prediction.correct for prediction in predictions) / len(predictions)
        by_extractor = scores(predictions)
        epoch = self._epochs[step]
        self._rows.append(
            {"epoch": epoch, "step": step, "accuracy": accuracy, "scores": by_extractor}
        )
        if not distributed.is_first():
            return
        write_json(
            self._run.workdir.parity_test_selection,
            {"split": "test", "problems": len(predictions), "epochs": self._rows},
        )
        values = {name: score["accuracy"] for name, score in by_extractor.items()}
        values = {
            f"{KEY}/{name}": value for name, value in {"accuracy": accuracy, **values}.items()
        }
        self._reporting.metrics_file.write(step, {k: round(v, 8) for k, v in values.items()})
        self._reporting.terminal.say(
            f"epoch {epoch}, step {step}: {accuracy:.1%} on test, for parity with papers that "
            "choose their epoch on it; nothing here does"
        )
