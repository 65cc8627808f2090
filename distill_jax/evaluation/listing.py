"""The evaluations of a run, and in which settings they differ: `evaluate --list`."""

import datetime
import pathlib
from collections.abc import Mapping
from typing import Any

from distill_jax.evaluation.summary import closing_lines
from distill_jax.workdir import Workdir, read_json


def list_evaluations(workdir: Workdir) -> list[str]:
    """Lines for the terminal: directory, date, result, settings and page of each evaluation, the
    newest last.

    Settings that are the same in all of them are left out. Raises UserError if `workdir` is
    not the directory of a run.
    """
    workdir.stored_config()
    directories = sorted(
        (path for path in workdir.evaluations.glob("*") if path.is_dir()),
        key=lambda path: (_answered_at(path), path),
    )
    if not directories:
        return [f"{workdir.evaluations}: no evaluation yet"]
    reports = {
        path: read_json(path / "report.json")
        for path in directories
        if (path / "report.json").exists()
    }
    known = [settings(report) for report in reports.values()]
    headline = read_json(workdir.report_json) if workdir.report_json.exists() else None
    lines: list[str] = []
    for path in directories:
        if path not in reports:
            lines += [str(path), "    not finished: the command that began it continues it"]
            continue
        report = reports[path]
        date = datetime.datetime.fromtimestamp(_answered_at(path))
        lines += [f"{path}  {date:%Y-%m-%d %H:%M}"]
        lines += [f"    {line}" for line in closing_lines(report)]
        own = settings(report).items()
        different = [
            f"{key}={as_text(value)}"
            for key, value in own
            if any(other[key] != value for other in known)
        ]
        lines += [f"    {' '.join(different)}"] if different else []
        page = workdir.report_html if report == headline else path / "report.html"
        lines += [f"    report: {page}"] if page.exists() else []
    return lines


def _answered_at(directory: pathlib.Path) -> float:
    """When the last problem was answered; if the evaluation is not finished, the time of its last
    file."""
    predictions = directory / "predictions.jsonl"
    return (predictions if predictions.exists() else directory).stat().st_mtime


def settings(report: Mapping[str, Any]) -> dict[str, Any]:
    """{"sampling.temperature": 0.7, ...}: the settings, as keys of the config."""
    return {
        f"{section}.{key}": value
        for section in ("evaluation", "sampling")
        for key, value in report[section].items()
    }


def as_text(value: Any) -> str:
    """A value as one writes it after `--config.key=`."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value) or '""'
