"""LoRA: a frozen base, and a small pair of trained matrices beside each kernel.

    W' = W + alpha / rank * A B        A [inputs, rank], B [rank, outputs]

(https://arxiv.org/abs/2106.09685). A starts random and B as 0, so the first step starts from
the base. A step of training in bfloat16 computes x W + alpha / rank * (x A) B, everything else
x W'; no step needs a gradient of W. For tokens that the base does not know, whole rows of the
embedding, and of an untied head, are trained.

With W = I, A = (1, 2), B = (3, 4) and alpha / rank = 2, W' = (7 8; 12 17).
"""

import dataclasses
import hashlib
import math
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.sharding import PartitionSpec

from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.model.affine import Adapted
from distill_jax.model.hugging_face_files import HEAD
from distill_jax.model.network import NetworkConfig, init_params
from distill_jax.settings import ranges

BASE = "(base)"  # the name of the base among the frozen parameters of a step; no student has it
A, B, ROWS = "lora_a", "lora_b", "rows"
Path = tuple[str, ...]


class Kernel(NamedTuple):
    """A matrix of the base that gets an adapter."""

    name: str  # of its module in Hugging Face files, without prefix
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Adapter:
    """The trained part beside the base of a student, and how it is added.

    targets     modules by the last part of their name in Hugging Face files, such as q_proj; () =
                every matrix of the blocks
    rows        ids whose rows of embedding and head are trained whole
    base_dtype  in which the base is held: float32 or bfloat16
    """

    model: NetworkConfig
    rank: int
    alpha: float
    targets: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    base_dtype: str = "float32"

    def kernels(self) -> dict[Path, Kernel]:
        """{path of the module in our tree: its matrix}. UserError for unknown targets."""
        found = {
            tensor.path[:-1]: Kernel(name.removesuffix(".weight"), *_sides(tensor))
            for name, tensor in self.model.hugging_face_layout().items()
            if tensor.path[-1] == "kernel"
        }
        known = sorted({kernel.name.rpartition(".")[2] for kernel in found.values()})
        if unknown := sorted(set(self.targets) - set(known)):
            raise UserError(
                f"config.lora.<student>.targets: {self.model.model_type} has no "
                f"{', '.join(unknown)}: choose from {', '.join(known)}"
            )
        return {
            path: kernel
            for path, kernel in found.items()
            if not self.targets or kernel.name.rpartition(".")[2] in self.targets
        }

    def tables(self) -> dict[Path, str]:
        """{path of the module: its name in Hugging Face files} of embedding and head, if rows of
        them are trained."""
        layout = self.model.hugging_face_layout()
        names = [next(iter(layout)), *([HEAD] if HEAD in layout else [])] if self.rows else []
        return {layout[name].path[:-1]: name.removesuffix(".weight") for name in names}

    def shapes(self) -> dict[str, Any]:
        """float32 ShapeDtypeStructs of what is trained."""
        flat: dict[Path, tuple[int, ...]] = {}
        for path, kernel in self.kernels().items():
            flat[*path, A] = (*kernel.inputs, self.rank)
            flat[*path, B] = (self.rank, *kernel.outputs)
        for path in self.tables():
            flat[*path, ROWS] = (len(self.rows), self.model.width)
        return traverse_util.unflatten_dict(
            {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in flat.items()}
        )

    def count(self) -> int:
        """Trained numbers."""
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(self.shapes()))

    def init(self, base: Any, seed: int) -> dict[str, Any]:
        """The first adapters, as numpy arrays: A of a normal distribution with deviation
        1 / sqrt(inputs), B 0, and the rows of the base (host arrays)."""
        draw = np.random.default_rng(seed)
        given = traverse_util.flatten_dict(base)

        def first(path: Path, shape: tuple[int, ...]) -> np.ndarray:
            if path[-1] == ROWS:
                return np.asarray(given[*path[:-1], "embedding"], np.float32)[list(self.rows)]
            if path[-1] == B:
                return np.zeros(shape, np.float32)
            return draw.normal(0.0, math.prod(shape[:-1]) ** -0.5, shape).astype(np.float32)

        flat: Any = traverse_util.flatten_dict(self.shapes())
        return traverse_util.unflatten_dict({p: first(p, leaf.shape) for p, leaf in flat.items()})

    def merge(self, base: Any, adapters: Any) -> dict[str, Any]:
        """Parameters of the network, float32, of base and adapters."""
        trained: Any = traverse_util.flatten_dict(adapters)
        whole = self._with_rows(base, trained)
        for path in self.kernels():
            product = jnp.tensordot(
                trained[*path, A], trained[*path, B], axes=1, precision=jax.lax.Precision.HIGHEST
            )
            whole[*path, "kernel"] += (self.alpha / self.rank) * product
        return traverse_util.unflatten_dict(whole)

    def beside(self, base: Any, adapters: Any) -> dict[str, Any]:
        """Parameters of the network for training: as those of `merge`, but the adapters stay beside
        the kernels, which are as they are held (`affine.Adapted`)."""
        held: Any = traverse_util.flatten_dict(base)
        trained: Any = traverse_util.flatten_dict(adapters)
        whole = self._with_rows(base, trained)
        for path in self.kernels():
            b = (self.alpha / self.rank) * trained[*path, B]
            whole[*path, "kernel"] = Adapted(held[*path, "kernel"], trained[*path, A], b)
        return traverse_util.unflatten_dict(whole)

    def _with_rows(self, base: Any, trained: Any) -> dict[Path, Any]:
        """Base and trained rows, flat, float32."""
        whole: dict[Path, Any] = {
            path: jnp.asarray(leaf, jnp.float32)
            for path, leaf in traverse_util.flatten_dict(base).items()
        }
        for path in self.tables():
            table = whole[*path, "embedding"]
            whole[*path, "embedding"] = table.at[jnp.array(self.rows)].set(trained[*path, ROWS])
        return whole

    def hold(self, base: Any) -> Any:
        """Host parameters as they are in memory during training: in base_dtype, except those that
        the family needs in float32."""

        def held(path, leaf):
            kept = self.model.float32_parameters.search(sharding.path_name(path))
            return np.asarray(leaf, jnp.float32 if kept else jnp.dtype(self.base_dtype))

        return jax.tree_util.tree_map_with_path(held, base)

    def base_shapes(self) -> Any:
        """ShapeDtypeStructs of what `hold` returns."""
        shapes = jax.eval_shape(lambda: init_params(self.model, jax.random.key(0)))

        def held(path, leaf):
            kept = self.model.float32_parameters.search(sharding.path_name(path))
            return jax.ShapeDtypeStruct(leaf.shape, "float32" if kept else self.base_dtype)

        return jax.tree_util.tree_map_with_path(held, shapes)

    @property
    def partition_rules(self) -> sharding.Rules:
        """How the adapters are split: A like the inputs of its kernel, B like the outputs; rank and
        rows are not split."""
        shapes = jax.eval_shape(lambda: init_params(self.model, jax.random.key(0)))
        layout = sharding.match_rules(self.model.partition_rules, shapes)
        specs: Any = traverse_util.flatten_dict(layout)
        rules = [(f"/{ROWS}$", PartitionSpec())]
        for path, kernel in self.kernels().items():
            dims = len(kernel.inputs) + len(kernel.outputs)
            axes = (*specs[*path, "kernel"], *[None] * dims)[:dims]
            name = rf"(^|/){re.escape('/'.join(path))}/"
            rules.append((f"{name}{A}$", PartitionSpec(*axes[: len(kernel.inputs)], None)))
            rules.append((f"{name}{B}$", PartitionSpec(None, *axes[len(kernel.inputs) :])))
        return rules

    def to_json(self) -> dict[str, Any]:
        """Its fields without the model; `from_json` is the inverse."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if name != "model"}


def from_json(stored: dict[str, Any], model: NetworkConfig) -> Adapter:
    """What `Adapter.to_json` gave for a student of that size."""
    lists: dict[str, Any] = {name: tuple(stored[name]) for name in ("targets", "rows")}
    return Adapter(model, **(stored | lists))


def digest(params: Any) -> str:
    """SHA-256 of host parameters, of all bytes in the order of their paths."""
    found = hashlib.sha256()
    for path, leaf in sorted(traverse_util.flatten_dict(params).items()):
        found.update("/".join(path).encode())
        found.update(np.ascontiguousarray(leaf).view(np.uint8).data)
    return found.hexdigest()


def _sides(tensor: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of a kernel's inputs and outputs."""
    inputs = tensor.file_shape[1] if tensor.transposed else tensor.file_shape[0]
    cut = next(n for n in range(1, len(tensor.shape)) if math.prod(tensor.shape[:n]) == inputs)
    return tensor.shape[:cut], tensor.shape[cut:]


def mistakes(section: Any, student: str, init_from: str) -> list[str]:
    """What is wrong with config.lora.<student>; `init_from`: that of config.model.<student>."""
    name = f"lora.{student}"
    found = ranges.mistakes(
        name,
        {key: section[key] for key in ("rank", "alpha", "base_dtype")},
        least={"rank": 0, "alpha": 1e-6},
        choices={"base_dtype": ("float32", "bfloat16")},
    )
    if section.rank > 0 and not init_from:
        found.append(
            f"config.{name}.rank={section.rank}: random parameters are not worth adapting: set "
            f"config.model.{student}.init_from"
        )
    if section.rank == 0 and section.init_from:
        found.append(f"config.{name}.init_from is an adapter: set config.{name}.rank to its rank")
    return found
