"""Tables as CSV."""

import csv
import io

from distill_jax.evaluation import tables


def test_a_spreadsheet_finds_no_formula():
    """Names come from data and students; negative numbers stay numbers."""
    table = tables.Table(
        "t", "Title", (tables.text("name"), tables.points("difference")),
        [("=HYPERLINK(1)", -0.25), ("@x", 0.5), ("", None), ("a=b", 0.0)], "",
    )  # fmt: skip
    _, *rows = csv.reader(io.StringIO(tables.to_csv(table)))
    assert rows == [["'=HYPERLINK(1)", "-0.25"], ["'@x", "0.5"], ["", ""], ["a=b", "0.0"]]
