"""Writes a student as a directory that transformers, and servers built on it, can load."""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  (with it numpy, and so safetensors, knows bfloat16)
import numpy as np
import safetensors.numpy
from flax import traverse_util

from distill_jax.errors import UserError
from distill_jax.export import gguf_export
from distill_jax.export.chat_template import turns_template
from distill_jax.model import peft_files
from distill_jax.model.hugging_face_files import HEAD, SINGLE
from distill_jax.model.lora import Adapter
from distill_jax.model.network import NetworkConfig
from distill_jax.text.gguf_tokenizer_export import EndIds
from distill_jax.text.tokenizer import EndMarks, saved_marks
from distill_jax.workdir import write_json, write_text


def save_params(
    path_of_model_safetensors: pathlib.Path, params: Any, model: NetworkConfig, dtype: str
) -> None:
    """Write parameters shaped like `network.init_params` makes them; `load_params` is the inverse.

    Of the embedding the first `model.vocab_size` rows are written. `dtype` is float32, float16 or
    bfloat16; raises UserError naming the tensor if a value is not finite in it.
    """
    path = path_of_model_safetensors
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(params)
    tensors = {}
    for name, tensor in model.hugging_face_layout().items():
        value = tensor.to_file(np.asarray(flat[tensor.path], np.float32))
        with np.errstate(over="ignore"):
            cast = value.astype(dtype)
        if not np.isfinite(cast).all():
            raise UserError(
                f"{path}: {name} has values that {dtype} cannot hold: give --dtype=float32, or, "
                "if that does not help, train the student again with a lower learning rate"
            )
        prefix = "" if name == HEAD else model.hugging_face_prefix
        tensors[prefix + name] = np.ascontiguousarray(cast)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        # transformers refuses files that do not say which framework's layout they have.
        safetensors.numpy.save_file(tensors, temporary, metadata={"format": "pt"})
        # safetensors makes it readable only for its owner: a server could not read it.
        temporary.chmod(mode)
        _sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(output: pathlib.Path, student: str) -> pathlib.Path:
    """The directory of an exported student; UserError if something is there already."""
    target = output / student
    if target.is_dir() and any(target.iterdir()):
        raise UserError(f"{target} is not empty: delete it, or choose another --output")
    for place in (output, target):
        if place.exists() and not place.is_dir():
            raise UserError(f"--output: {place} is not a directory: choose another")
    return target


class Exported(NamedTuple):
    """A student to be written."""

    student: str
    params: Any  # shaped like `network.init_params(model, ...)` makes them
    model: NetworkConfig
    tokenizer: pathlib.Path  # the run's directory: its tokenizer.json decides ids and their number
    # An adapter, its host arrays, and the name of its base: written to adapter/ too.
    adapter: tuple[Adapter, Any, str] | None = None
    template: str = ""  # Jinja for chats (chat_template.py); "" = as in training rows


def export_student(
    output: pathlib.Path,
    exported: Exported,
    dtype: str,
    card: str,
    never_writes: Sequence[int] = (),
    gguf: str = "",
) -> pathlib.Path:
    """Write `output/student/` with weights, config, tokenizer and model card; returns its path.

    dtype         of the weights in the file: float32, float16 or bfloat16
    card          the text of README.md
    never_writes  ids that no role of the student may write: generation leaves them out
    gguf          type of the numbers in a file for llama.cpp, one of gguf_llama_export.FILE_TYPES
                  (see gguf_export.check); "" = no such file

    It is built beside its place and renamed, so it is never incomplete. Raises UserError if
    something is there already, and like `save_params`.
    """
    import tokenizers

    student, params, model, tokenizer_directory, adapter, template = exported
    target = check_target(output, student)
    temporary = output / f".{student}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # of an export that was killed
    temporary.mkdir(parents=True)
    try:
        backend = tokenizers.Tokenizer.from_file(str(tokenizer_directory / "tokenizer.json"))
        vocabulary = backend.get_vocab(with_added_tokens=True)
        size = max(vocabulary.values()) + 1
        written = dataclasses.replace(model, vocab_size=size)
        save_params(temporary / SINGLE, params, written, dtype)
        marks = saved_marks(tokenizer_directory)
        ends = EndIds(vocabulary[marks.turn], vocabulary[marks.text])
        _write_configs(temporary, ends, written, dtype, never_writes)
        template = template or turns_template(marks.turn)
        _write_tokenizer(temporary, backend, marks, model.context, template)
        write_text(temporary / "README.md", card)
        if adapter is not None:
            peft_files.save(temporary / "adapter", *adapter)
        if gguf:
            gguf_export.write_gguf(temporary, student, ends, gguf)
        _sync(temporary)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_configs(
    directory: pathlib.Path,
    ends: EndIds,
    model: NetworkConfig,
    dtype: str,
    never_writes: Sequence[int],
) -> None:
    """config.json, so that transformers computes what our network does; generation_config.json."""
    import transformers

    config = model.hugging_face_config(
        bos_token_id=ends.text,
        eos_token_id=ends.text,
        pad_token_id=ends.text,
        dtype=dtype,
    )
    # As transformers writes it.
    write_text(directory / "config.json", json.dumps(config, indent=2, sort_keys=True) + "\n")
    generation = {
        "bos_token_id": ends.text,
        "do_sample": False,
        "eos_token_id": [ends.text, ends.turn],
        "pad_token_id": ends.text,
        "transformers_version": transformers.__version__,
    }
    # Training leaves these out of the softmax, so their logits have no meaning.
    if never_writes:
        generation["suppress_tokens"] = sorted(never_writes)
    write_json(directory / "generation_config.json", generation)


def _write_tokenizer(
    directory: pathlib.Path, backend: Any, marks: EndMarks, context: int, template: str
) -> None:
    """tokenizer.json, and the files that transformers needs with it.

    The class is the one that uses tokenizer.json unchanged in every version of transformers. The
    class of a model, such as GPT-2's, would split text in its own way.
    """
    import tokenizers

    if backend.num_special_tokens_to_add(is_pair=False):
        # The tokenizer must not add tokens, such as one for the beginning of a text: our rows have
        # none.
        backend.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
    write_text(directory / "tokenizer.json", backend.to_str(pretty=True))
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": marks.text,
        "pad_token": marks.text,
        "additional_special_tokens": [marks.turn],
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": template,
    }
    write_json(directory / "tokenizer_config.json", tokenizer_config)


def _sync(path: pathlib.Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
