"""report.html: one offline file with the students' results and their dialogues."""

import collections
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
import markupsafe

from distill_jax.dialogues.votes import LENGTH
from distill_jax.evaluation import figures
from distill_jax.evaluation.summary import cost_line, origin_lines
from distill_jax.records import Prediction
from distill_jax.workdir import write_text

# Kind -> (icon, word), which differ without colour.
BADGES = {
    "right": ("✓", "right"),
    "wrong": ("✗", "wrong"),
    "unfinished": ("…", "unfinished"),
    "unparsable": ("?", "unparsable"),
}
STATUS_MEANING = {
    "finished": "the dialogue ended by itself",
    "turn_cap": "stopped at the limit of turns",
    "token_cap": "stopped at the limit of tokens in a turn",
    "context": "stopped because the model's context was full",
    "prompt_too_long": "the question left no room to write",
    "unparsed": "ended, but no answer could be read",
}
# Facts of training_data.json that the table of the training shows, in this order, and in words. All
# of them are in a folded table below it.
TRAINING_FACTS = {
    "parameters": "parameters",
    "rows": "training rows",
    "dropped_rows": "rows left out, too long",
    "epochs": "passes over the rows",
    "steps": "steps planned",
    "finished_at": "steps trained",
    "best_step": "best step on dev",
    "tokens": "tokens read",
    "loss_tokens": "of these, tokens to learn",
    "useful_share": "share of the batches that is not padding",
    "seq_len": "places in a row of a batch",
    "model.layers": "layers",
    "model.width": "width",
    "model.heads": "heads",
    "model.context": "context, in tokens",
    "model.vocab_size": "vocabulary",
}
SECTIONS = {
    "Settings of the evaluation": "evaluation",
    "Settings of the sampling": "sampling",
    "What the run is made from": "identity",
}
COLORS = {"decomposer": 0, "solver": 1, "planner": 2}  # of roles and of students
OTHER_COLORS = 3  # 3, 4 and 5 go to names that are not above

# Characters that HTML does not allow, or that show text in another order than it is stored:
# control characters but tab and newline, direction overrides, surrogates, noncharacters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(chr(plane << 16 | last) for plane in range(1, 17) for last in (0xFFFE, 0xFFFF))
    + "]"
)


class Curve(NamedTuple):
    """A measure of training, in a figure of its own if a student has a point."""

    heading: str
    label: str  # of its values, such as "training loss"
    points: Mapping[str, Sequence[tuple[int, float]]]  # of each student (step, value)


def write_report(
    path: str | pathlib.Path,
    *,
    summary: Mapping[str, Any],
    predictions: Sequence[Prediction],
    curves: Sequence[Curve],
    title: str,
    training: Mapping[str, Any] | None,
    max_dialogues: int = 20,
) -> None:
    """Write one self-contained HTML file: no script, nothing loaded from elsewhere.

    `summary` is what `summary.summarise` returned, `training` maps a student to facts such as
    steps, tokens, rows. The same arguments give the same bytes.
    """
    dialogues = choose_dialogues(predictions, max_dialogues)
    drawn = [
        curve._replace(points={visible(name): some for name, some in curve.points.items() if some})
        for curve in curves
    ]
    students = [name for curve in drawn for name in curve.points]
    colors = speaker_colors([*students, *(turn.role for p in dialogues for turn in p.turns)])
    html = page_template("report.html.j2").render(
        title=title,
        summary=summary,
        cost_line=cost_line(summary),
        origin_lines=origin_lines(summary),
        bars=_bars(summary),
        guesser_sentences=_guesser_sentences(summary),
        curves=[
            (
                curve.heading,
                list(curve.points),
                figures.curve_figure(f"curve{number}", curve.label, curve.points, colors),
            )
            for number, curve in enumerate(drawn)
            if curve.points
        ],
        steps_figure=figures.steps_figure(summary["by_steps"]),
        status_meaning=STATUS_MEANING,
        training=_training_table(training or {}),
        settings={
            name: {key: _exact(value) for key, value in _flatten(summary[section]).items()}
            for name, section in SECTIONS.items()
            if section in summary
        },
        dialogues=[(outcome(p), p, _votes(p)) for p in dialogues],
        badges=BADGES,
        colors=colors,
        by_length=summary["sampling"].get("vote") == LENGTH,
    )
    write_text(pathlib.Path(path), html)


def page_template(name: str) -> jinja2.Template:
    """A template of this package; everything it prints is escaped and made visible."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("distill_jax.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, counted=counted)
    return environment.get_template(name)


def outcome(prediction: Prediction) -> str:
    """A key of BADGES: the status if the dialogue did not end with an answer, else the grade. One
    that a limit cut off may be right all the same."""
    if prediction.status == "unparsed":
        return "unparsable"
    if prediction.status != "finished":
        return "unfinished"
    return "right" if prediction.correct else "wrong"


def choose_dialogues(predictions: Sequence[Prediction], limit: int) -> list[Prediction]:
    """At most `limit` predictions, each outcome that occurs in turn, spread over the whole list."""
    kinds = [[p for p in predictions if outcome(p) == kind] for kind in BADGES]
    quotas = [0] * len(kinds)
    left = min(limit, len(predictions))
    while left > 0:
        for index, members in enumerate(kinds):
            if left > 0 and quotas[index] < len(members):
                quotas[index] += 1
                left -= 1
    spread = [
        [members[i * len(members) // quota] for i in range(quota)]
        for members, quota in zip(kinds, quotas, strict=True)
    ]
    rounds = range(max(quotas, default=0))
    return [members[i] for i in rounds for members in spread if i < len(members)]


def visible(text: str) -> str:
    """`text` with characters that HTML forbids or that reorder it made visible."""
    return _UNPRINTABLE.sub(_picture, text.replace("\r\n", "\n"))


def percent(value: float) -> str:
    """0.2345 -> "23.4 %", with a space that does not break."""
    return f"{100 * value:.1f}\u202f%"


def number(value: Any) -> str:
    """A fact for a table: thousands apart, four digits of a float, text as it is.

    >>> number(40000.0).split("\\u202f"), number(0.76543), number(None)
    (['40', '000'], '0.7654', '-')
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _exact(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    return f"{value:,.0f}".replace(",", "\u202f") if abs(value) >= 1000 else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """ "1 token", "2 tokens"; thousands apart."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def _exact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _finalize(value: Any) -> Any:
    # Every value that the template prints passes here; Markup is our own SVG.
    if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
        return visible(value)
    return value


def speaker_colors(names: Iterable[str]) -> dict[str, int]:
    """{role or student: i of the page's colour `--series-i`}."""
    others = [name for name in dict.fromkeys(names) if name not in COLORS]
    return COLORS | {name: OTHER_COLORS + i % 3 for i, name in enumerate(others)}


def _bars(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    headline = summary["headline_extractor"]
    scores = sorted(summary["scores"].items(), key=lambda item: item[0] != headline)
    students = [
        {
            "kind": "headline-bar" if name == headline else "student",
            "label": f"students, {name}",
            **s,
        }
        for name, s in scores
    ]
    guessers = [
        {"kind": "guesser", "label": f"guess: {name}", **guesser}
        for name, guesser in summary["guessers"].items()
    ]
    return students + guessers


def _guesser_sentences(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    low, high = summary["accuracy_interval"]
    interval = f"{percent(low)} to {percent(high)}"
    sentences = []
    for name, guesser in summary["guessers"].items():
        if guesser["excluded"]:
            verdict = f"The students' interval ({interval}) lies above it: they do better."
        elif guesser["accuracy"] > high:
            verdict = f"The students' interval ({interval}) lies below it: they do worse."
        else:
            verdict = (
                f"The students' interval ({interval}) does not exclude it: "
                "these problems do not show that they do better."
            )
        text = f"gets {percent(guesser['accuracy'])}. {verdict}"
        sentences.append({"name": name, "excluded": guesser["excluded"], "text": text})
    return sentences


def _votes(prediction: Prediction) -> list[tuple[str | None, int]]:
    """(answer, number of samples that gave it), the most frequent first; [] for one sample."""
    return collections.Counter(s.prediction for s in prediction.samples).most_common()


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat = {}
    for key, value in facts.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _training_table(training: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as rows, students as columns; facts that belong to no student in a last column.

    "words": those of TRAINING_FACTS, "rows": all of them by their keys.
    """
    columns = {name: _flatten(f) for name, f in training.items() if isinstance(f, Mapping)}
    shared = {name: fact for name, fact in training.items() if not isinstance(fact, Mapping)}
    if shared:
        columns["all"] = columns.get("all", {}) | shared
    rows = dict.fromkeys(fact for facts in columns.values() for fact in facts)
    cells = {fact: [facts.get(fact) for facts in columns.values()] for fact in rows}
    words = {
        word: [_in_words(fact, value) for value in cells[fact]]
        for fact, word in TRAINING_FACTS.items()
        if fact in cells
    }
    return {"columns": list(columns), "words": words, "rows": cells}


def _in_words(fact: str, value: Any) -> Any:
    if fact == "best_step" and value == -1:
        return "not measured"
    return percent(value) if fact == "useful_share" and value is not None else value
