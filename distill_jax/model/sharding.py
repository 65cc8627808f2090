"""The device mesh and how arrays are laid out on it."""

import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from distill_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))  # rows over both; tensor devices share rows

Rules = Sequence[tuple[str, PartitionSpec]]


def make_mesh(data: int, fsdp: int, tensor: int, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over `devices` (None: all); one axis may be -1, and then gets the remaining devices.

    Raises UserError if the product is not the number of devices.
    """
    count = jax.device_count() if devices is None else len(devices)
    shape = [data, fsdp, tensor]
    if shape.count(-1) == 1:
        known = -(data * fsdp * tensor)
        shape[shape.index(-1)] = count // known if known > 0 else 0
    if min(shape) < 1 or shape[0] * shape[1] * shape[2] != count:
        raise UserError(
            f"config.mesh data={data} fsdp={fsdp} tensor={tensor} does not fit {count} "
            "device(s): the product must be their number, and one axis may be -1"
        )
    return jax.make_mesh(tuple(shape), AXES, axis_types=(AxisType.Auto,) * 3, devices=devices)


def match_rules(rules: Rules, tree: Any) -> Any:
    """A PartitionSpec for every leaf: that of the first rule whose regex is found in its path.

    Paths look like `params/h_0/attn/c_attn/kernel`; optimizer moments contain the parameter's
    path, so they get its layout. Raises ValueError for a leaf that no rule matches.
    """

    def spec(path, leaf) -> PartitionSpec:
        name = path_name(path)
        if leaf.ndim == 0:
            return PartitionSpec()
        for pattern, spec in rules:
            if re.search(pattern, name):
                return spec
        raise ValueError(f"no partition rule matches {name} {leaf.shape}")

    return jax.tree_util.tree_map_with_path(spec, tree)


def path_name(path: Any) -> str:
    """A tree path as text, its parts joined by slashes."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def shardings(mesh: Mesh, specs: Any) -> Any:
    """NamedShardings of a tree of PartitionSpecs."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        specs,
        is_leaf=lambda x: isinstance(x, PartitionSpec),
    )


def put_batch(mesh: Mesh, batch: dict[str, Any]) -> dict[str, jax.Array]:
    """Host arrays of one process's rows to global arrays, rows over data and fsdp."""
    sharding = NamedSharding(mesh, BATCH)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }
