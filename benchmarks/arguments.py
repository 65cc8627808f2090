"""Arguments that several benchmarks take, and what must be there before a measurement begins."""

import argparse
import importlib.util
import pathlib

from distill_jax import devices

DATA_HELP = (
    "directory with gsm8k/ (train, train_socratic, test, test_socratic.jsonl of "
    "openai/grade-school-math) and gpt2_tokenizer/ (tokenizer.json of openai-community/gpt2)"
)
_FILES = (
    *(f"gsm8k/{split}.jsonl" for split in ("train", "train_socratic", "test", "test_socratic")),
    "gpt2_tokenizer/tokenizer.json",
)


def data_directory(text: str) -> str:
    """The type of --data: a directory that has all files, or ''."""
    missing = [name for name in _FILES if text and not (pathlib.Path(text) / name).is_file()]
    if missing:
        raise argparse.ArgumentTypeError(
            f"{text} has no {missing[0]}: give the directory that --help describes"
        )
    return text


def finished_run(text: str) -> str:
    """The type of --run: the working directory of a run that has been evaluated, or ''."""
    if text and not (pathlib.Path(text) / "report.json").is_file():
        raise argparse.ArgumentTypeError(f"{text} has no report.json: give a finished run")
    return text


def at_least_one(text: str) -> int:
    """The type of a number of repetitions."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def needs(packages: dict[str, str], instead: str = "") -> None:
    """SystemExit if one of {package: the extra that has it} is not installed; `instead`: what else
    can be done."""
    for package, extra in packages.items():
        if importlib.util.find_spec(package) is None:
            raise SystemExit(f"error: needs {package}: pip install -e '.[{extra}]'{instead}")


def check_device(device: str) -> None:
    """SystemExit if a GPU is to be measured where there is none."""
    if device == "gpu" and not devices.gpu_files():
        raise SystemExit("error: no GPU here; --device=cpu tries the code on a CPU")


def add_size(parser: argparse.ArgumentParser) -> None:
    """Sizes of a model that has no name."""
    for size in ("layers", "heads", "width"):
        parser.add_argument(f"--{size}", type=int, help="a model of this size instead of --models")
    parser.add_argument("--context", type=int, default=1024)
