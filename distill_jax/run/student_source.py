"""The source of a student's size and first parameters: config.model.<student>.

It may be random parameters of a given size or preset, a model in Hugging Face format or in a GGUF
file, or a student of another run. A student that is only read comes from one of the last three.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from distill_jax.errors import UserError
from distill_jax.gguf_file import GGUFFile, opened
from distill_jax.model import (
    families,
    gguf_source,
    hugging_face,
    lora,
    network,
    presets,
    sharding,
)
from distill_jax.model.network import NetworkConfig
from distill_jax.settings import ranges
from distill_jax.text.tokenizer import EndMarks, Tokenizer, load_tokenizer
from distill_jax.training import checkpoint, manifest
from distill_jax.workdir import Workdir, local_path, read_facts

SPARE_ROWS = 200  # an embedding may have more rows than its tokenizer has ids, by one in so many
_SIZE = ("layers", "heads", "width", "context")
# Tokenizers that give these the same ids count as the same.
_PROBE = (" ".join(str(n) for n in range(100)), "Natalia sold clips to 48 of her friends.")


def first_tokenizer(config: Any, students: Sequence[str]) -> Tokenizer | None:
    """The tokenizer that `config.tokenizer` names, or the first one that comes with what `students`
    begin with.

    None if there is neither, so that one is to be trained. Raises UserError as load_tokenizer does,
    and for a GGUF file of a student that is not there.
    """
    sources = {
        f"config.model.{student}.init_from": config.model[student].init_from for student in students
    }
    for key, source in sources.items():
        if _is_gguf(source) and not local_path(source, key).exists():
            raise UserError(f"{key}={source}: no such file: download it, or name another one")
    name = config.tokenizer.name
    if not name:
        own = (_own_tokenizer(source, key) for key, source in sources.items() if source)
        name = next(filter(None, own), "")
    return load_tokenizer(name, end_marks(config)) if name else None


def _own_tokenizer(source: str, key: str) -> str:
    """What load_tokenizer takes for the tokenizer that comes with `source`, the value of `key`; ""
    if none does."""
    other = other_run(source)
    if other is not None:
        directory = other[0] / "tokenizer"
        return str(directory) if directory.is_dir() else ""
    if _is_gguf(source):
        return source
    hugging_face.find(source, key)  # its errors name this key
    directory = local_path(source, key)
    files = (directory / "tokenizer.json", directory / "vocab.json")
    return source if not directory.is_dir() or any(file.exists() for file in files) else ""


def end_marks(config: Any) -> EndMarks:
    """The end marks of config.tokenizer."""
    return EndMarks(config.tokenizer.end_of_turn, config.tokenizer.end_of_text)


def untrained_marks(section: Any, key: str, tokenizer: Tokenizer) -> dict[str, int]:
    """{end mark: its id} of those that the weights of config.model.<student>, which is `key`, do
    not know: the tokenizer had to add them, or comes from elsewhere and has more ids than the
    weights have rows."""
    name = section.init_from
    if not name or other_run(name):
        return {}
    find = gguf_source.find if _is_gguf(name) else hugging_face.find
    rows = find(name, f"{key}.init_from").model.vocab_size
    ids = zip(tokenizer.marks, (tokenizer.end_of_turn, tokenizer.end_of_text), strict=True)
    return {mark: n for mark, n in ids if mark in tokenizer.untrained or n >= rows}


def _is_gguf(name: str) -> bool:
    return name.endswith(".gguf")


def model_config(section: Any, student: str, tokenizer: Tokenizer) -> NetworkConfig:
    """The size of a student as its config section (a ConfigDict) says; reads no weights.

    Raises UserError for a preset, a source or a checkpoint that does not exist, or that does not
    fit the tokenizer.
    """
    dropout = {name: section[name] for name in section if name.endswith("_dropout")}
    return dataclasses.replace(_size(section, student, tokenizer), **dropout)


def _size(section: Any, student: str, tokenizer: Tokenizer) -> NetworkConfig:
    """The size of a student, without dropout."""
    key = f"config.model.{student}"
    if not section.init_from:
        if section.preset:
            size = presets.preset_size(section.preset, f"{key}.preset")
        else:
            numbers = {name: section[name] for name in _SIZE}
            size = presets.own_size(family=section.family, **numbers)
        return dataclasses.replace(size, vocab_size=tokenizer.padded_size)
    if section.preset:
        raise UserError(f"{key}.init_from brings its own size: leave {key}.preset empty")
    return given_size(section.init_from, f"{key}.init_from", tokenizer)


def given_size(name: str, key: str, tokenizer: Tokenizer) -> NetworkConfig:
    """The size of the student that `name`, the value of `key`, stands for; reads no weights.

    Raises UserError as `model_config` does.
    """
    other = other_run(name)
    if other is not None:
        run, other_student = other
        facts = read_facts(run / "training_data.json")
        if other_student not in facts:
            raise UserError(f"{key}: {run} has no student {other_student!r}")
        if not same_tokenizer(run, tokenizer):
            raise UserError(
                f"{key} is of a run with another tokenizer: set "
                f"config.tokenizer.name={run / 'tokenizer'}"
            )
        _other_step(name, key)
        return families.from_json(facts[other_student]["model"])
    if _is_gguf(name):
        size = _gguf_size(name, tokenizer, key)
    else:
        size = _hugging_face_size(name, tokenizer, key)
    rows = -(-size.vocab_size // 128) * 128
    return dataclasses.replace(size, vocab_size=max(rows, tokenizer.padded_size))


def _hugging_face_size(name: str, tokenizer: Tokenizer, key: str) -> NetworkConfig:
    size = hugging_face.find(name, key).model
    # We choose the end marks, so a tokenizer that came with the weights may lack them. And
    # published weights may have rows that belong to no id (Qwen 2.5 has 271 of them in 151,936).
    if not size.vocab_size - size.vocab_size // SPARE_ROWS <= tokenizer.size <= size.vocab_size + 2:
        raise UserError(
            f"{key}={name} has {size.vocab_size} words, the tokenizer "
            f"{tokenizer.size}: set config.tokenizer.name to the one of these weights"
        )
    return size


def _gguf_size(path: str, tokenizer: Tokenizer, key: str) -> NetworkConfig:
    source = gguf_source.find(path, key)
    if not _same_ids(source.file, tokenizer):
        raise UserError(
            f"{key}={path} has another tokenizer: leave config.tokenizer.name empty, so "
            "that it is the one of this file"
        )
    return source.model


def given_params(name: str, key: str, model: NetworkConfig) -> tuple[Any, str]:
    """(host parameters float32, dtype of the files) of the student that `name`, the value of `key`,
    stands for, with as many rows of embedding as `model` has."""
    if other_run(name) is None:
        own, load, dtype = _published(name, key)
        rows = max(own.vocab_size, model.vocab_size)
        params = load(rows)
    else:
        own, params = _of_other_run(name, key)
        rows, dtype = own.vocab_size, "float32"
    held = dataclasses.replace(own, vocab_size=rows)
    return hugging_face.fit_rows(params, held, model.vocab_size), dtype


def _published(name: str, key: str) -> tuple[NetworkConfig, Callable[[int], Any], str]:
    """(the size of published weights, what loads them with so many rows, their dtype)."""
    if _is_gguf(name):
        file = gguf_source.find(name, key)
        return file.model, functools.partial(gguf_source.load_params, file), "float32"
    source = hugging_face.find(name, key)
    return source.model, functools.partial(hugging_face.load_params, source), source.dtype


def _of_other_run(name: str, key: str) -> tuple[NetworkConfig, Any]:
    """(size, host parameters) of a student of another run; those of its base and its adapter
    together, if it has one."""
    run, other = other_run(name) or (pathlib.Path(), "")
    step = _other_step(name, key)
    facts = read_facts(run / "training_data.json")[other]
    model = families.from_json(facts["model"])
    adapter = None
    if "lora" in facts:
        adapter = lora.from_json(facts["lora"], model)
        shapes = adapter.shapes()
    else:
        shapes = jax.eval_shape(lambda: network.init_params(model, jax.random.key(0)))
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes
    )
    with contextlib.closing(checkpoint.Checkpoints(step.parent, keep=1)) as checkpoints:
        params = checkpoints.restore_params(int(step.name), abstract)
    if adapter is not None:
        of_base = Workdir(run).stored_config()["model"][other]["init_from"]
        base, _ = adapted_base(of_base, f"the base of {key}", adapter.model, facts)
        # On one device, whatever the mesh that is set.
        with jax.set_mesh(sharding.make_mesh(1, 1, 1, jax.local_devices()[:1])):
            params = adapter.merge(adapter.hold(base), params)
    return model, jax.tree.map(np.asarray, params)


def adapted_base(
    name: str, key: str, model: NetworkConfig, facts: Mapping[str, Any]
) -> tuple[Any, str]:
    """`given_params`; UserError if they are not those beside which an adapter was trained, if it
    was. `facts` is the student's part of training_data.json."""
    params, dtype = given_params(name, key, model)
    if facts.get("base_sha256") not in (None, lora.digest(params)):
        raise UserError(
            f"{key}={name} is not what the adapter was trained on: put the old files back"
        )
    return params, dtype


def described(name: str) -> str:
    """Published weights in words: the file, who made it, and what became of its numbers.

    `name` is a value of config.model.STUDENT.init_from; that of another run is returned as it is.
    """
    if not _is_gguf(name):
        return name
    file = opened(local_path(name, "config.model.STUDENT.init_from"))
    known = [file.value(f"general.{key}", str) for key in ("name", "organization", "license")]
    kinds = dict.fromkeys(tensor.tensor_type.name for tensor in file.tensors.values())
    quantised = sorted(kind for kind in kinds if kind.startswith("Q"))
    said = [each for each in known if each]
    said += [f"dequantised from {' and '.join(quantised)}"] if quantised else []
    if "instruct" in f"{file.path.stem} {known[0]}".lower():
        said.append("instruction-tuned")
    return file.path.name + (f" ({', '.join(said)})" if said else "")


def other_run(name: str) -> tuple[pathlib.Path, str] | None:
    """(RUN, STUDENT) of RUN/checkpoints/STUDENT[/STEP]; None if `name` is something else."""
    path = local_path(name, "config.model.STUDENT.init_from")
    for directory in (path, path.parent):
        if directory.parent.name == "checkpoints":
            return directory.parent.parent, directory.name
    return None


@functools.lru_cache(maxsize=4)
def _same_ids(file: GGUFFile, tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer of `file` gives the same ids, without end marks that were added."""
    return load_tokenizer(str(file.path)).encode(_PROBE) == tokenizer.encode(_PROBE)


def same_tokenizer(run: pathlib.Path, tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer of a run gives the same ids."""
    other = load_tokenizer(str(run / "tokenizer"))
    return other.size == tokenizer.size and other.encode(_PROBE) == tokenizer.encode(_PROBE)


def _other_step(name: str, key: str) -> epath.Path:
    """The directory of the checkpoint that `name`, the value of `key`, stands for: without a step
    that of the end of training."""
    path = epath.Path(local_path(name, key)).resolve()
    directory = path if path.parent.name == "checkpoints" else path.parent
    steps = [str(step) for step in manifest.complete_steps(directory)]
    wanted = path.name
    if path == directory:
        facts = read_facts(pathlib.Path(directory.parent.parent) / "training_data.json")
        wanted = str(facts[directory.name].get("finished_at", ""))
        if steps and not wanted:
            raise UserError(
                f"{key}={name}: this student's training has not ended: end it, or name a "
                f"checkpoint, such as {name}/{steps[-1]}"
            )
    if wanted not in steps:
        there = f"there are {', '.join(steps)}" if steps else "there is none"
        raise UserError(f"{key}={name}: no complete checkpoint ({there})")
    return directory / wanted


def mistakes(section: Any, student: str) -> list[str]:
    """What is wrong with config.model.<student>."""
    name = f"model.{student}"
    dropout = {key: 0.0 for key in section if key.endswith("_dropout")}
    values = {key: section[key] for key in dropout}
    found = ranges.mistakes(name, values, least=dropout, below=dict.fromkeys(dropout, 1.0))
    if section.preset or section.init_from:
        return found
    size = {key: section[key] for key in (*_SIZE, "family")}
    choices = {"family": tuple(presets.FAMILIES)}
    small = ranges.mistakes(name, size, least=dict.fromkeys(_SIZE, 1), choices=choices)
    if not small and section.width % section.heads:
        small = [
            f"config.{name}.heads={section.heads} does not divide "
            f"config.{name}.width={section.width}"
        ]
    elif not small and section.family == "llama" and section.width // section.heads % 2:
        small = [
            f"config.{name}: width={section.width} by heads={section.heads} is "
            f"{section.width // section.heads}, but Llama's positions need an even number"
        ]
    return found + small
