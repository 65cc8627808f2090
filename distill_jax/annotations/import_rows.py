"""Files of rows: JSON Lines, JSON, and the ones that keep texts and questions in separate files."""

import json
import pathlib
import re
from typing import Any

from distill_jax.annotations.generation import Row
from distill_jax.annotations.import_formats import (
    FORMATS,
    PREDICTIONS,
    STEP_BY_STEP,
    Format,
    recognise,
)
from distill_jax.errors import UserError
from distill_jax.records import read_json_lines, without_half_pairs

_STEP_BY_STEP_FILE = re.compile(r"(?P<split>\w+)_CoT_(?P<part>[0-9]{1,6})\.json")
_NEXT_EXAMPLE = "\n\nQ:"  # its completions run on: another example of the prompt's begins

Placed = tuple[str, Row]  # (place to name in a message, row)


def read_rows(path: pathlib.Path) -> tuple[list[Placed], Format]:
    """The rows of a file and their format; predictions in a run's directory also name the "run".

    Raises UserError if the file is missing, is not JSON, or has an unknown format.
    """
    value, places = _content(path)
    if isinstance(value, list) and value and all(isinstance(row, str) for row in value):
        return _step_by_step(path, value), STEP_BY_STEP
    rows = _rows(path, value, places)
    form = recognise([row for _, row in rows])
    if form is None:
        keys = ", ".join(rows[0][1]) or "none"
        raise UserError(
            f"{path}: no format that can be imported has the keys {keys}: recognised are "
            f"{'; '.join(map(str, FORMATS))}; write one of them"
        )
    if form is PREDICTIONS and path.parent.parent.name == "evaluations":
        run = str(path.parents[2])  # RUN/evaluations/NAME/predictions.jsonl
        rows = [(place, {"run": run, **row}) for place, row in rows]
    return rows, form


def _content(path: pathlib.Path) -> tuple[Any, list[str]]:
    """The value of a JSON file, or the rows of JSON Lines, whatever its name, with their places."""
    try:
        if path.suffix == ".jsonl":
            return _lines(path)
        return without_half_pairs(json.loads(path.read_text(encoding="utf-8-sig"))), []
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):
            return _lines(path)
        place = f"{path}:{error.lineno}"
        raise UserError(f"{place}: not JSON ({error.msg}): export it again") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: neither JSON nor JSON Lines: convert it to one of them") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 5,000 brackets
        raise UserError(f"{path}: JSON that cannot be read ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _lines(path: pathlib.Path) -> tuple[list[Row], list[str]]:
    lines = read_json_lines(path, mend=True)
    return [row for _, row in lines], [f"{path.name}:{number}" for number, _ in lines]


def _rows(path: pathlib.Path, value: Any, places: list[str]) -> list[Placed]:
    shared: Row = {}
    if isinstance(value, dict) and "data" in value:
        metadata, value = value.get("metadata"), value["data"]
        if isinstance(metadata, dict) and isinstance(metadata.get("base_model"), str):
            shared = {"model": metadata["base_model"]}
        if isinstance(value, dict):  # Fine-tune-CoT: lists of samples by the place of the problem
            value = [row for rows in value.values() if isinstance(rows, list) for row in rows]
    if not isinstance(value, list) or not value:
        raise UserError(f"{path}: no rows: a list of them is expected, or an object with 'data'")
    for index, row in enumerate(value):
        if not isinstance(row, dict):
            raise UserError(f"{path} row {index}: an object is expected, not {row!r:.50}")
    places = places or [f"{path.name} row {index}" for index in range(len(value))]
    return [(place, shared | row) for place, row in zip(places, value, strict=True)]


def _step_by_step(path: pathlib.Path, texts: list[str]) -> list[Placed]:
    """Rows of train_CoT_1.json, whose questions are in svamp_train.json in the same order.

    https://github.com/google-research/distilling-step-by-step: the parts of a split follow each
    other, and the questions are beside them or in the folder above.
    """
    match = _STEP_BY_STEP_FILE.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"{path}: a list of texts: only Distilling step-by-step has such files, with names "
            "like train_CoT_0.json"
        )
    questions = _questions(path, match["split"])
    earlier = [f"{match['split']}_CoT_{part}.json" for part in range(int(match["part"]))]
    before = sum(len(_content(path.with_name(name))[0]) for name in earlier)
    if before + len(texts) > len(questions):
        raise UserError(
            f"{path}: {before} + {len(texts)} texts for {len(questions)} questions: the files "
            "of one split belong together"
        )
    rows = zip(questions[before:], texts, strict=False)
    return [
        (f"{path.name} row {index}", {"input": question, "completion": _first_example(text)})
        for index, (question, text) in enumerate(rows)
    ]


def _first_example(text: str) -> str:
    text = text.partition(_NEXT_EXAMPLE)[0]
    return text.removesuffix(_NEXT_EXAMPLE[:-1])  # if the completion ends in the label


def _questions(path: pathlib.Path, split: str) -> list[str]:
    for folder in (path.parent, path.parent.parent):
        found = sorted(folder.glob(f"*_{split}.json"))
        if found:
            rows = _rows(found[0], *_content(found[0]))
            return [str(row.get("input", "")) for _, row in rows]
    raise UserError(f"{path}: no *_{split}.json beside it with the questions: put it there")
