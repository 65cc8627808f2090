"""Reading data sets as their authors publish them, with one line for whatever is wrong.

A row is (where, fields): `where` names file and row, to be put before what is said about it.
"""

import csv
import io
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from distill_jax.errors import NoSplit, UserError
from distill_jax.records import refuse_half_pairs
from distill_jax.tracking import progress
from distill_jax.workdir import local_path

Row = tuple[str, dict[str, Any]]


DIRECTORY = "config.task_options.directory"


def folder(directory: str, files: str, key: str = DIRECTORY) -> pathlib.Path:
    """The folder of a task's files, as given by `key`; raises UserError, naming the `files`."""
    path = local_path(directory, key)
    if not path.is_dir():
        raise UserError(f"{path}: no such directory: set --{key} to one with {files}")
    return path


def json_rows(path: pathlib.Path, url: str) -> list[Row]:
    """The objects of a file that holds one JSON list; `url` is where it can be had.

    Raises UserError if the file is missing or not a list of objects.
    """
    try:
        rows = json.loads(_text(path, url))
    except (ValueError, RecursionError) as error:  # also 5,000 digits, 5,000 brackets
        raise UserError(f"{path}: not JSON ({error}): download it from {url}") from None
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: not a JSON list of rows: download it from {url}")
    result = [(f"{path} row {index}", row) for index, row in enumerate(rows)]
    for where, row in result:
        if not isinstance(row, dict):
            raise UserError(f"{where}: not a JSON object: download it from {url}")
        refuse_half_pairs(row, where)
    return result


def csv_rows(path: pathlib.Path, url: str) -> list[Row]:
    """The rows of a CSV file with a header; `url` is where it can be had.

    Raises UserError if the file is missing, empty or not CSV.
    """
    reader = csv.DictReader(io.StringIO(_text(path, url)), strict=True)
    rows = []
    try:
        for row in reader:
            rows.append((f"{path}:{reader.line_num}", row))
    except csv.Error as error:
        line = reader.reader.line_num  # the DictReader's own is that of the row before
        raise UserError(f"{path}:{line}: not CSV ({error}): download it from {url}") from None
    if not rows:
        raise UserError(f"{path}: no rows: download it from {url}")
    return rows


def hub_rows(hub_id: str, files: str) -> list[Row]:
    """The rows of all splits of a data set on the Hub, one split after the other.

    Raises UserError if it cannot be loaded, naming the `files` that would do instead.
    """
    import datasets  # takes seconds, and is not needed with a directory

    progress.asks_the_hub(hub_id)
    try:
        splits = datasets.load_dataset(hub_id)
        return [
            (f"{hub_id} ({name}) row {index}", row)
            for name in splits
            for index, row in enumerate(splits[name].to_list())
        ]
    except Exception as error:  # the network, the Hub, the cache and pyarrow each have their own
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise UserError(
            f"{hub_id}: cannot be loaded ({reason}): check the name and the network, or set "
            f"--config.task_options.directory to a folder with {files}"
        ) from error


def text_field(row: dict[str, Any], field: str, where: str, url: str) -> str:
    """A field that holds text, without white space around it. Raises UserError."""
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: field {field!r} is missing or not text: download it from {url}")
    return value.strip()


def choose(value: str, choices: Sequence[str], what: str) -> None:
    """Raise UserError if `value` is none of the `choices`; `what` begins the message."""
    if value not in choices:
        raise UserError(f"{what} {value!r}: choose {' or '.join(choices)}")


def choose_split(split: str, splits: Sequence[str], task: str) -> None:
    """Raise NoSplit where the task has no such split."""
    if split not in splits:
        raise NoSplit(f"{task} has no split {split!r}: choose {' or '.join(splits)}")


def _text(path: pathlib.Path, url: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: download it from {url}") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 at byte {error.start}: download it from {url}"
        ) from None
