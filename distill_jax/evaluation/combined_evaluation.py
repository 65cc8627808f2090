"""Makes one ordinary evaluation, predictions and report.json, from several of the same problems."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.evaluation import combination, deferral, summary
from distill_jax.evaluation.listing import as_text
from distill_jax.evaluation.runs import Run, grader, read_runs
from distill_jax.records import Prediction, Sample, refuse_duplicates, shorten, to_json
from distill_jax.settings.command_line import to_type
from distill_jax.text.transcript import written_steps
from distill_jax.workdir import local_path, read_json, write_json, write_text

REMEDY = "combine evaluations of the same problems"


@dataclasses.dataclass(frozen=True)
class Combined:
    """The result of a rule."""

    rule: str
    settings: dict[str, Any]  # the settings; equal in combinations of the same arm
    description: str  # for tables
    predictions: list[Prediction]
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # more for report.json


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The threshold of a switch: given, or chosen on other problems."""

    value: float
    chosen_on: tuple[str, ...] = ()  # the evaluations, as they were named; () = given
    choice: deferral.Choice | None = None  # its result on those problems
    share: float | None = None  # it may defer of those; None = the most accurate


def read_members(paths: Sequence[str], names: Sequence[str] = ()) -> list[Run]:
    """Evaluations that may be combined, with their predictions in the order of the first one's.

    Raises UserError if one cannot be read, is a combination itself, is given twice, or is of other
    problems, another task or split, or other given turns than the first: the message names the
    first problem that differs, and both files.
    """
    members = read_runs(paths, names)
    for member in members:
        if "combination" in member.report:
            raise UserError(f"{member.evaluation} is a combination: give what it was made of")
        refuse_duplicates(member.predictions, str(_file(member)))
    first = members[0]
    return [first, *(_in_order_of(first, member) for member in members[1:])]


def voted(members: Sequence[Run]) -> Combined:
    """Rule `vote`. Raises UserError if there is one ballot only."""
    grade = grader(members[0])
    predictions = [combination.vote(answers, grade) for answers in _problems(members)]
    ballots = _ballots(predictions)
    return Combined("vote", {}, f"vote of {ballots}", predictions)


def length_voted(
    members: Sequence[Run], *, tokens: bool = False, width: int = 2, buckets: int = 3
) -> Combined:
    """Rule `length_vote`; a length is that of a ballot in steps, or in `tokens`.

    Raises UserError if there is one ballot only, or if width or buckets are below 1.
    """
    if width < 1 or buckets < 1:
        raise UserError(f"--width={width} --buckets={buckets}: give whole numbers from 1")

    def length(sample: Sample) -> int:
        return sample.tokens if tokens else written_steps(sample.turns)

    grade = grader(members[0])
    predictions = [
        combination.length_vote(answers, length, width, buckets, grade)
        for answers in _problems(members)
    ]
    unit = "tokens" if tokens else "steps"
    description = (
        f"length_vote of {_ballots(predictions)}: {buckets} bucket{'s' * (buckets > 1)} of "
        f"{width} {unit if width > 1 else unit[:-1]} that agree{'s' * (buckets == 1)} most"
    )
    settings = {"length": unit, "width": width, "buckets": buckets}
    return Combined("length_vote", settings, description, predictions)


def choose_threshold(
    members: Sequence[Run], dev_paths: Sequence[str], by: str, share: float | None
) -> Threshold:
    """The threshold that is best on dev: the most accurate, or the one that defers at most `share`.

    Raises UserError if the dev evaluations are not of the students of `members`, in their order and
    with their sampling, or if they share a question with them.
    """
    if len(dev_paths) != len(members):
        raise UserError(
            f"--dev has {len(dev_paths)} evaluations for {len(members)} that are combined: give "
            "one of each, in the same order"
        )
    dev = read_members(dev_paths, [member.name for member in members])
    if [_who_answered(run) for run in dev] != [_who_answered(run) for run in members]:
        raise UserError(
            f"--dev {' '.join(dev_paths)}: not the students, checkpoints and sampling of "
            f"{_listed(members)}: give evaluations of the same runs in the same order"
        )
    for run in dev:
        if run.report.get("training_problems"):
            raise UserError(
                f"--dev: {_file(run)} asks training problems, on which students are surer than "
                "elsewhere: evaluate with --config.evaluation.split=dev"
            )
    asked = {prediction.question for prediction in members[0].predictions}
    for prediction in dev[0].predictions:
        if prediction.question in asked:
            raise UserError(
                f"--dev: question {shorten(prediction.question)!r} of {_file(dev[0])} is one of "
                f"{_file(members[0])}: a threshold is chosen on other problems"
            )
    small, large, uncertainty = _small_and_large(dev, by)
    found = deferral.choices(
        uncertainty, [p.correct for p in small], [p.correct for p in large.predictions]
    )
    choice = deferral.best(found) if share is None else deferral.at_share(found, share)
    return Threshold(choice.threshold, tuple(dev_paths), choice, share)


def switched(members: Sequence[Run], by: str, threshold: Threshold) -> Combined:
    """Rule `switch`: the last member is the large one, the others are the small one.

    Several small ones vote, and their disagreement is the uncertainty (`by` votes). Raises
    UserError if `by` does not fit the members.
    """
    small, large, uncertainty = _small_and_large(members, by)
    predictions = [
        combination.switch(mine, other, large.name, unsure, threshold.value)
        for mine, other, unsure in zip(small, large.predictions, uncertainty, strict=True)
    ]
    deferred = sum(unsure > threshold.value for unsure in uncertainty)
    chosen = "as given"
    if threshold.chosen_on:
        chosen = f"chosen on {', '.join(threshold.chosen_on)}"
    small_names = ", ".join(run.name for run in members[:-1])
    settings = {"by": by, "share": threshold.share}
    if not threshold.chosen_on:
        settings["threshold"] = threshold.value
    return Combined(
        "switch",
        settings,
        f"switch from {small_names} to {large.name} if uncertainty ({by}) > {threshold.value:.4g}, "
        f"{chosen}: {deferred / len(predictions):.1%} of the problems",
        predictions,
        {
            "threshold": {
                "value": threshold.value,
                "chosen_on": list(threshold.chosen_on),
                "there": threshold.choice and threshold.choice._asdict(),
            },
            "deferred": deferred / len(predictions),
            "deferral": deferral.measure(uncertainty, small, large.predictions),
        },
    )


def write(output: str, members: Sequence[Run], combined: Combined) -> dict[str, Any]:
    """Write DIR/predictions.jsonl and DIR/report.json; returns the content of the latter.

    An earlier combination in the directory is replaced. Raises UserError if the directory has other
    files that are read here, or cannot be written to.
    """
    directory = local_path(output, "--output")
    check_output(output)
    result = _report(members, combined)
    try:
        # A report shows that its predictions are complete, so it is deleted first and written last.
        (directory / "report.json").unlink(missing_ok=True)
        lines = [to_json(prediction) + "\n" for prediction in combined.predictions]
        write_text(directory / "predictions.jsonl", "".join(lines))
        write_json(directory / "report.json", result)
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise UserError(f"--output={directory}: {error.strerror}: choose another") from None
    return result


def check_output(output: str) -> str:
    """What the combination that lies in the directory is, "" if there is none.

    Raises UserError if the directory holds a run or other files, or is the place of a run's
    evaluation.
    """
    directory = local_path(output, "--output")
    inside = directory.resolve().parent.name == "evaluations"
    report = directory / "report.json"
    combination = read_json(report).get("combination") if report.exists() else None
    if inside or (directory / "config.json").exists() or (report.exists() and not combination):
        raise UserError(f"--output={directory} belongs to a run: choose another directory")
    if combination:
        return combination["description"]
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"--output={directory} has other files: choose a new directory")
    return ""


def _report(members: Sequence[Run], combined: Combined) -> dict[str, Any]:
    reports = [member.report for member in members]
    students = _students(members)
    seeds = {report["seed"] for report in reports}
    predictions = combined.predictions
    samples = len(predictions[0].samples) or 1
    circumstances = summary.Circumstances(
        task=reports[0]["task"],
        split=reports[0]["split"],
        checkpoint_steps={name: step for name, (step, _) in students.items()},
        identity=_joined([report["identity"] for report in reports]),
        seed=seeds.pop() if len(seeds) == 1 else None,
        seconds=sum(report["seconds"] for report in reports),
        checkpoint_rule=_agreed([report["checkpoint_rule"] for report in reports]),
        sampling=_joined([report["sampling"] for report in reports]) | {"samples": samples},
        origins=_origins(reports),
    )
    training = any(report.get("training_problems") for report in reports)
    circumstances = dataclasses.replace(circumstances, training_problems=training)
    result = summary.summarise(predictions, _guessers(reports), circumstances)
    written = result["cost"]["tokens"]
    answered = collections.Counter(p.answered_by for p in predictions)
    kept = ("seed", "identity", "sampling", "checkpoint_steps", "checkpoint_rule", "accuracy")
    return result | {
        "tokens": {"generated": written, "mean": written / len(predictions)},
        "problems": reports[0]["problems"],
        "evaluation": _joined([report["evaluation"] for report in reports]),
        "combination": {
            "rule": combined.rule,
            "settings": combined.settings,
            "description": combined.description,
            **combined.facts,
            "answered_by": dict(answered.most_common()),
            "members": [
                {"name": member.name, "path": str(member.evaluation)}
                | {key: member.report[key] for key in kept}
                for member in members
            ],
            "students": {name: facts for name, (_, facts) in students.items()},
        },
    }


def _in_order_of(first: Run, member: Run) -> Run:
    """`member` with its predictions in the order of the first one's; UserError if it cannot be."""
    files = f"{_file(first)}", f"{_file(member)}"
    answers = {prediction.id: prediction for prediction in member.predictions}
    for wanted in first.predictions:
        found = answers.get(wanted.id)
        if found is None:
            raise UserError(f"problem {wanted.id!r} is in {files[0]}, not in {files[1]}: {REMEDY}")
        if (found.question, found.answer) != (wanted.question, wanted.answer):
            what = "question" if found.question != wanted.question else "answer"
            raise UserError(
                f"problem {wanted.id!r} has another {what} in {files[0]} than in {files[1]}: "
                f"{REMEDY}"
            )
    known = {prediction.id for prediction in first.predictions}
    for prediction in member.predictions:
        if prediction.id not in known:
            raise UserError(
                f"problem {prediction.id!r} is in {files[1]}, not in {files[0]}: {REMEDY}"
            )
    for what, mine, theirs in (
        ("task", first.report["task"], member.report["task"]),
        ("split", first.report["split"], member.report["split"]),
        ("given turns (config.sampling.given)", first.given, member.given),
    ):
        if mine != theirs:
            raise UserError(
                f"{files[0]} and {files[1]} differ in their {what}: {mine!r} and {theirs!r}: "
                "combine evaluations that were asked the same"
            )
    ordered = tuple(answers[prediction.id] for prediction in first.predictions)
    return dataclasses.replace(member, predictions=ordered)


def _file(member: Run) -> pathlib.Path:
    return member.evaluation / "predictions.jsonl"


def _listed(members: Sequence[Run]) -> str:
    return " ".join(str(member.evaluation) for member in members)


def _who_answered(run: Run) -> list[Any]:
    """Equal for evaluations of the same students that differ in their problems."""
    sampling = {k: v for k, v in run.report["sampling"].items() if k not in ("slots", "seed")}
    return [run.identity, run.report["checkpoint_steps"], sampling]


def _problems(members: Sequence[Run]) -> list[dict[str, Prediction]]:
    """Of each problem {member: prediction}."""
    rows = zip(*(member.predictions for member in members), strict=True)
    return [dict(zip((member.name for member in members), row, strict=True)) for row in rows]


def _ballots(predictions: Sequence[Prediction]) -> str:
    """ "3 ballots"; UserError if there is only one."""
    ballots = len(predictions[0].samples)
    if ballots < 2:
        raise UserError(
            "one evaluation with one sample per problem is not a vote: give several evaluations, "
            "or one with config.sampling.samples above 1"
        )
    return f"{ballots} ballots"


def _small_and_large(members: Sequence[Run], by: str) -> tuple[list[Prediction], Run, list[float]]:
    """(the small one's predictions, each with who answered; the large one; uncertainties)."""
    if len(members) < 2:
        raise UserError("--rule switch needs a small one and a large one: give two evaluations")
    *small, large = members
    if len(small) > 1 and by != "votes":
        raise UserError(
            f"--by {by} takes one small evaluation, not {len(small)}: for a committee give "
            "--by votes"
        )
    if len(small) == 1 and by == "votes" and not all(p.samples for p in small[0].predictions):
        raise UserError(
            f"--by votes: {_file(small[0])} has one sample per problem: give several small "
            "evaluations before the large one, or one with config.sampling.samples above 1"
        )
    if by != "votes" and not all(deferral.is_known(by, p) for p in small[0].predictions):
        raise UserError(
            f"--by {by}: {_file(small[0])} does not say how sure its students were of each token, "
            "as those of earlier versions do not: make another evaluation of the run "
            f"({to_type('evaluate', '--workdir', small[0].path)} --config.sampling.seed=1), and "
            "name that one"
        )
    grade = grader(members[0]) if by == "votes" else None
    answers = [
        combination.vote(row, grade)
        if by == "votes"
        else dataclasses.replace(row[small[0].name], answered_by=_who(small[0], row))
        for row in _problems(small)
    ]
    return answers, large, [deferral.UNCERTAINTIES[by](answer) for answer in answers]


def _who(member: Run, row: Mapping[str, Prediction]) -> str:
    return combination.who(member.name, row[member.name].answered_by)


def _students(members: Sequence[Run]) -> dict[str, tuple[int, dict[str, Any]]]:
    """{"1/solver": (step, facts)}: the students of the first member and so on, each once.

    They are numbered, not named, so that combinations of other seeds have the same ones.
    """
    found: dict[tuple[str, str, int], tuple[str, dict[str, Any]]] = {}
    for number, member in enumerate(members, start=1):
        for student, step in member.report["checkpoint_steps"].items():
            key = str(member.path.resolve()), student, step
            found.setdefault(key, (f"{number}/{student}", member.facts[student]))
    return {name: (step, facts) for (_, _, step), (name, facts) in found.items()}


def _guessers(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Those of all members; of one name the best, since training problems may differ."""
    best: dict[str, Any] = {}
    for report in reports:
        for name, result in report["guessers"].items():
            if name not in best or result["accuracy"] > best[name]["accuracy"]:
                best[name] = result
    return best


def _origins(reports: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What the students of all reports were before, each once."""
    kinds = dict.fromkeys(kind for report in reports for kind in report.get("origins", {}))
    return {
        kind: list(
            dict.fromkeys(n for report in reports for n in report.get("origins", {}).get(kind, ()))
        )
        for kind in kinds
    }


def _joined(sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each key with the value that all have, or else with all values as text."""
    keys = dict.fromkeys(key for section in sections for key in section)
    return {key: _agreed([section.get(key) for section in sections]) for key in keys}


def _agreed(values: Sequence[Any]) -> Any:
    if all(value == values[0] for value in values):
        return values[0]
    return " | ".join(as_text(value) for value in values)
