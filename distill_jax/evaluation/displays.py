"""What notebooks show: dialogues, and tables with a plot, as HTML.

Everything printed is escaped; the HTML has no script, loads nothing, and has its own colours.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import markupsafe

from distill_jax.evaluation import html_report, tables
from distill_jax.evaluation.error_classes import false_equations
from distill_jax.evaluation.tables import Table
from distill_jax.records import Annotation, Prediction, Turn


@dataclasses.dataclass(frozen=True, repr=False)
class Exhibit:
    """Tables, and above them a plot (SVG) if there is something to draw."""

    tables: tuple[Table, ...]
    figure: markupsafe.Markup | None = None

    def __repr__(self) -> str:
        """As Markdown, for places that cannot show HTML."""
        return "\n".join(tables.to_markdown(table) for table in self.tables)

    def _repr_html_(self) -> str:
        return html_report.page_template("notebook_tables.html.j2").render(
            tables=[(table, tables.shown(table)) for table in self.tables], figure=self.figure
        )


@dataclasses.dataclass(frozen=True)
class GradedDialogue:
    """A prediction, why it is wrong (evaluation/error_classes.py), and its gold steps if known."""

    prediction: Prediction
    error_class: str | None  # None if it is right
    gold: Annotation | None

    def _repr_html_(self) -> str:
        p = self.prediction
        return dialogue_html(p.question, p.turns, p.prediction, p.status, graded=self)


def dialogue_html(
    question: str,
    turns: Sequence[Turn],
    answer: str | None,
    status: str,
    *,
    votes: Mapping[str | None, int] | None = None,
    graded: GradedDialogue | None = None,
    note: str = "",
) -> str:
    """A question and its dialogue turn by turn; false equations of a solver are marked.

    `votes` of several samples are shown if there is more than one, and the grade if it is known;
    `note` is shown at the end.
    """
    votes = votes or {}
    kind = html_report.outcome(graded.prediction) if graded else ""
    return html_report.page_template("notebook_dialogue.html.j2").render(
        question=question,
        turns=[(t, false_equations(t.text) if t.role == "solver" else []) for t in turns],
        answer=answer,
        status=status,
        status_meaning=html_report.STATUS_MEANING.get(status, status),
        votes=list(votes.items()) if sum(votes.values()) > 1 else [],
        graded=graded,
        note=note,
        kind=kind,
        badge=html_report.BADGES.get(kind),
        colors=html_report.speaker_colors(turn.role for turn in turns),
    )
