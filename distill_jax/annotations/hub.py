"""Annotations as a data set on the Hugging Face Hub, with a card that says how they were made.

The files are those of a working directory, as JSON lines: `datasets.load_dataset(NAME)` reads them,
and so does `--config.data.annotations=hub:NAME`.
"""

import collections
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_jax.annotations.summary import table
from distill_jax.errors import UserError
from distill_jax.records import read_json_lines
from distill_jax.text.markdown import plain
from distill_jax.workdir import Workdir, read_json, write_text

PREFIX = "hub:"

TERMS = (
    "The terms of a teacher's provider apply to its output, and often restrict the training of "
    "other models on it; the licence of the questions is that of their data set. Neither is "
    "settled by this card: look them up before you publish."
)

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def push(workdir: Workdir, name: str) -> str:
    """Upload annotations, rejected ones, summary and card; returns the line to say.

    Uses the token of `hf auth login` or HF_TOKEN. Raises UserError if there are no
    annotations, or the Hub refuses them.
    """
    if not workdir.annotations.exists():
        raise UserError(
            f"{workdir.annotations}: no such file: run `python -m distill_jax.annotate`"
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_folder(workdir, folder)
        push_folder(folder, name, "dataset")
    return f"uploaded: {PREFIX}{name}"


def push_folder(folder: pathlib.Path, name: str, kind: str) -> str:
    """Upload a folder; `kind` is dataset or model. Returns the line to say, raises as `push`."""
    import huggingface_hub

    try:
        api = huggingface_hub.HfApi()
        api.create_repo(name, repo_type=kind, exist_ok=True)
        api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder)
    except Exception as error:  # the network, the Hub and its client have each their own
        raise UserError(
            f"{name}: not uploaded ({_reason(error)}): check the name, and `hf auth login`"
        ) from error
    return f"uploaded: {name}"


def fetch(name: str) -> pathlib.Path:
    """The file of annotations of a data set on the Hub, in the Hub's cache on this machine."""
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(name, "train.jsonl", repo_type="dataset")
    except Exception as error:
        raise UserError(
            f"{PREFIX}{name}: cannot be loaded ({_reason(error)}): check the name and the network"
        ) from error
    return pathlib.Path(path)


def write_folder(workdir: Workdir, folder: pathlib.Path) -> None:
    """The data set as files: what is uploaded, and what `datasets.load_dataset(folder)` reads."""
    copies = {
        workdir.annotations: "train.jsonl",
        workdir.dev_annotations: "validation.jsonl",
        workdir.rejected_annotations: "rejected.jsonl",
        workdir.summary: "summary.json",
    }
    for source, name in copies.items():
        if source.exists() and source.stat().st_size:
            shutil.copyfile(source, folder / name)
    write_text(folder / "README.md", card(workdir, folder))


def card(workdir: Workdir, folder: pathlib.Path) -> str:
    """The README of the data set: teacher, its terms, prompt hashes, counts and rejections."""
    config = workdir.stored_config()
    rows = [row for _, row in read_json_lines(workdir.annotations)]
    files = [("train", "train.jsonl"), ("validation", "validation.jsonl")]
    there = [(split, name) for split, name in files if (folder / name).exists()]
    size = next((name for most, name in _SIZES if len(rows) < most), "n>1M")
    return "\n".join(
        [
            *_front_matter(there, size),
            f"# Step-by-step annotations of {config['task'].rpartition('.')[2]}",
            "",
            f"{len(rows):,} annotations: a question, the steps of its solution (with subquestions "
            "where the source writes them), and the final answer, which equals the known one.",
            "",
            *sources_table(rows),
            "",
            TERMS,
            "",
            "What was kept, and why the others were not:",
            "",
            "```",
            table(read_json(workdir.summary)),
            "```",
            "",
            f"Made by distill_jax: `task = {config['task']}`, temperature "
            f"{config['teacher']['temperature']:g}, {config['teacher']['samples']} samples per "
            f"problem. Read it with `--config.data.annotations={PREFIX}THIS_DATA_SET`.",
            "",
        ]
    )


def sources_table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Who wrote the annotations: lines of a table in Markdown, the most frequent source first."""
    names = {"kind": "kind", "model": "model", "prompt": "prompt"}
    names["prompt_hash"] = "hash of the prompt"
    counts = collections.Counter(
        tuple(str(row["source"].get(key, "")) for key in names) for row in rows
    )
    head = [_row([*names.values(), "annotations"]), _row(["---"] * (len(names) + 1))]
    return head + [_row([*key, f"{count:,}"]) for key, count in counts.most_common()]


def _row(cells: Sequence[str]) -> str:
    # Others chose a model's name, so it is escaped: it must not be mark-up or end its cell.
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def _front_matter(files: Sequence[tuple[str, str]], size: str) -> list[str]:
    lines = ["---", "tags:", "- synthetic", "- reasoning", "- distill_jax"]
    lines += [
        "size_categories:",
        f"- {size}",
        "configs:",
        "- config_name: default",
        "  data_files:",
    ]
    for split, name in files:
        lines += [f"  - split: {split}", f"    path: {name}"]
    return [*lines, "---", ""]


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0][:200]
