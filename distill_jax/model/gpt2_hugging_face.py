"""GPT-2 in Hugging Face format: its config.json, and the names of its tensors.

Names and layouts are those of transformers' `modeling_gpt2.py`: its Conv1D weights are [in, out],
like ours, and the three parts of `c_attn` come one after another, each with its heads in order.
"""

import pathlib
import re
from typing import Any

import numpy as np

from distill_jax.errors import UserError
from distill_jax.model.hugging_face_files import Tensor

PREFIX = "transformer."
MASKS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # of every layer, in old files
EPSILON = 1e-5  # of LayerNorms; flax's default is 1e-6

# What config.json may say about the function; these are also transformers' defaults for keys that
# it leaves out. `reorder_and_upcast_attn` only decides where float32 is used.
_COMPUTED = {
    "activation_function": "gelu_new",
    "layer_norm_epsilon": EPSILON,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}
# transformers' defaults for the sizes.
_SIZES = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_positions": 1024, "vocab_size": 50257}


def tensor_layout(
    *, layers: int, heads: int, width: int, context: int, vocab_size: int
) -> dict[str, Tensor]:
    """{name in a file, without prefix: Tensor} of every parameter of a GPT-2 of this size."""
    head = width // heads
    layout = {
        "wte.weight": Tensor(("wte", "embedding"), (vocab_size, width), (vocab_size, width)),
        "wpe.weight": Tensor(("wpe", "embedding"), (context, width), (context, width)),
    }

    def norm(name: str, *path: str) -> None:
        layout[f"{name}.weight"] = Tensor((*path, "scale"), (width,), (width,))
        layout[f"{name}.bias"] = Tensor((*path, "bias"), (width,), (width,))

    def dense(name: str, path: tuple[str, ...], inside: tuple[int, ...], outside: tuple[int, ...]):
        rows, columns = int(np.prod(inside)), int(np.prod(outside))
        layout[f"{name}.weight"] = Tensor((*path, "kernel"), (rows, columns), (*inside, *outside))
        layout[f"{name}.bias"] = Tensor((*path, "bias"), (columns,), outside)

    for i in range(layers):
        name, block = f"h.{i}", f"h_{i}"
        norm(f"{name}.ln_1", block, "ln_1")
        dense(f"{name}.attn.c_attn", (block, "attn", "c_attn"), (width,), (3, heads, head))
        dense(f"{name}.attn.c_proj", (block, "attn", "c_proj"), (heads, head), (width,))
        norm(f"{name}.ln_2", block, "ln_2")
        dense(f"{name}.mlp.c_fc", (block, "mlp", "c_fc"), (width,), (4 * width,))
        dense(f"{name}.mlp.c_proj", (block, "mlp", "c_proj"), (4 * width,), (width,))
    norm("ln_f", "ln_f")
    return layout


def read_sizes(config: dict[str, Any], path: pathlib.Path, where: str) -> dict[str, int]:
    """The sizes that config.json gives; UserError if our network would compute otherwise."""
    sizes = {key: config.get(key, default) for key, default in _SIZES.items()}
    for key, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{where}: {path} has {key}={value!r}: it must be a number above 0")
    wrong = {
        key: config[key] for key in _COMPUTED if config.get(key, _COMPUTED[key]) != _COMPUTED[key]
    }
    if config.get("n_inner") not in (None, 4 * sizes["n_embd"]):
        wrong["n_inner"] = config["n_inner"]
    if sizes["n_embd"] % sizes["n_head"]:
        wrong["n_head"] = sizes["n_head"]
    if wrong:
        listed = ", ".join(f"{key}={value!r}" for key, value in wrong.items())
        raise UserError(
            f"{where}: {path} has {listed}, which this GPT-2 does not compute: choose a model that "
            "is a plain GPT-2"
        )
    names = ("layers", "heads", "width", "context", "vocab_size")
    return dict(zip(names, sizes.values(), strict=True))
