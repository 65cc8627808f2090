"""Attention of one token per row, or of a few, to a cache of keys and values.

Shapes: B rows, T tokens of each, N query heads, K key-value heads (which divide N: query head n
reads n // (N / K)), S slots of the cache, H head dim.

    xla     any platform and dtype; reads all S slots of every row
    triton  NVIDIA, bfloat16; reads the slots that a row has filled, in blocks of 64
            (jax.experimental.pallas.ops.gpu)
"""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from distill_jax.errors import UserError

BLOCK = 64  # slots that triton reads at a time
LANES = 128  # of a TPU

# The compiler cannot partition a Pallas kernel, so each device calls it for its own heads and rows.
_HEADS, _CACHE = P(("data", "fsdp"), "tensor", None), P(("data", "fsdp"), "tensor", None, None)
_ROWS = P(("data", "fsdp"))


def check_kernel(kernel: str, platform: str, dtype: str, head_dim: int | None = None) -> None:
    """Raise UserError if config.sampling.attention=`kernel` cannot do what is asked.

    `head_dim` is None if it is not known yet.
    """
    if kernel == "xla":
        return
    lacks = []
    if platform != "gpu":
        lacks.append(f"runs on GPUs, not on {platform}")
    if dtype != "bfloat16":
        lacks.append(f"takes config.sampling.dtype=bfloat16, not {dtype}")
    if head_dim is not None and (head_dim < 16 or head_dim & (head_dim - 1)):
        lacks.append(f"takes heads (width / heads) of 16, 32, 64, ..., not {head_dim}")
    if lacks:
        raise UserError(
            f"config.sampling.attention={kernel} {', and '.join(lacks)}: xla can do that"
        )


def attend_cache(
    kernel: str,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    cache: dict[str, jax.Array],
    positions: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """q [B, T, N, H]; k, v [B, T, K, H]; caches {"k", "v"} [B, K, S, H]; positions int32 [B, T].

    Writes k and v into the slots from positions[:, 0] on (one token: a slot past the end is the
    last one; several: those past the end are not written). Then each token attends to the slots up
    to its position: ([B, T, N, H] of q's dtype, the caches); softmax in float32.

    `xla` reads all S slots, so S should be only a little larger than the largest position. Slots
    after the position add exact zeros, so on a CPU the result is bit for bit independent of S (with
    groups of queries and very small heads up to rounding). For several tokens it is the only
    kernel.
    """
    if q.shape[1] > 1:
        several = functools.partial(attend_several, slots_last=False)
        on_tpu = functools.partial(attend_several, slots_last=True)
        return jax.lax.platform_dependent(q, k, v, cache, positions, tpu=on_tpu, default=several)
    q, k, v, position = q[:, 0], k[:, 0], v[:, 0], positions[:, 0]
    attended, cache = _attend_one(kernel, q, k, v, cache, position)
    return attended[:, None], cache


def _attend_one(kernel, q, k, v, cache, position):
    """One token per row: q [B, N, H]; k, v [B, K, H]; position int32 [B]."""
    new = {"k": k.astype(cache["k"].dtype), "v": v.astype(cache["v"].dtype)}
    if kernel == "triton":
        cache = _written(new, cache, position)
        manual = jax.shard_map(
            attend_filled_slots,
            in_specs=(_HEADS, _CACHE, _CACHE, _ROWS),
            out_specs=_HEADS,
            check_vma=False,
        )
        return manual(q, cache["k"], cache["v"], position), cache
    return jax.lax.platform_dependent(
        q, new, cache, position, tpu=attend_slots_last, default=attend_slots_first
    )


def attend_slots_first(q, new, cache, position):
    """`xla`, with the numbers of a slot adjacent in memory; faster on a CPU."""
    cache = _written(new, cache, position)
    return _attend_slots(q, cache["k"], cache["v"], position, "BNSH"), cache


def attend_slots_last(q, new, cache, position, *, interpret: bool = False):
    """`xla`, with the same number of all slots adjacent in memory. `interpret`: run the kernel that
    writes step by step, on any platform.

    A TPU spreads the last axis over 128 lanes. Heads have 64 numbers, so it stores caches with the
    slots last. For a write along the axis before the last, it would copy all caches in every chunk
    into lanes that are half empty, and read twice as much (docs/log.md).
    """
    turned = jax.tree.map(lambda c: c.swapaxes(2, 3), cache)
    write = functools.partial(write_lanes, interpret=interpret)
    # Without a mesh there is one device. This is traced on every platform.
    if not jax.sharding.get_abstract_mesh().empty:
        specs = (_HEADS, _CACHE, _ROWS)
        write = jax.shard_map(write, in_specs=specs, out_specs=_CACHE, check_vma=False)
    turned = write(new, turned, position)
    attended = _attend_slots(q, turned["k"], turned["v"], position, "BNHS")
    return attended, jax.tree.map(lambda c: c.swapaxes(2, 3), turned)


def write_lanes(
    new: dict[str, jax.Array],
    cache: dict[str, jax.Array],
    position: jax.Array,
    *,
    interpret: bool = False,
) -> dict[str, jax.Array]:
    """Caches {"k", "v"} [B, K, H, S] with `new` [B, K, H] at slot `position` of each row, in place
    on a TPU.

    XLA writes row by row there, in a loop for each cache. This kernel does both caches of a layer
    at once, and fetches the next row's 128 slots while it writes those of this one.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import tpu as pltpu

    rows, heads, size, slots = cache["k"].shape
    place = jnp.minimum(position, slots - 1)

    def kernel(place, new_k, new_v, k, v, written_k, written_v):
        lanes = jax.lax.broadcasted_iota(jnp.int32, (size, LANES), 1)
        here = lanes == place[pl.program_id(0)] % LANES
        for new, old, written in ((new_k, k, written_k), (new_v, v, written_v)):
            for head in range(heads):
                number = new[0, :, head : head + 1]
                written[0, head] = jnp.where(here, number, old[0, head])

    turned = [new[name].swapaxes(1, 2) for name in "kv"]  # [B, H, K]: a head's numbers go down
    number = pl.BlockSpec((1, size, heads), lambda row, place: (row, 0, 0))
    tile = pl.BlockSpec(
        (1, heads, size, LANES), lambda row, place: (row, 0, 0, place[row] // LANES)
    )
    k, v = pl.pallas_call(
        kernel,
        out_shape=[jax.ShapeDtypeStruct(cache[name].shape, cache[name].dtype) for name in "kv"],
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(rows,),
            in_specs=[number, number, tile, tile],
            out_specs=[tile, tile],
        ),
        input_output_aliases={3: 0, 4: 1},
        interpret=interpret,
    )(place, *turned, cache["k"], cache["v"])
    return {"k": k, "v": v}


def attend_filled_slots(
    q: jax.Array, k: jax.Array, v: jax.Array, position: jax.Array, *, interpret: bool = False
) -> jax.Array:
    """[B, N, H] of q [B, N, H] and caches k, v [B, K, S, H], which already contain the token
    itself.

    A program of the kernel reads one key-value head of one row, up to the end of the block of its
    position, so the result does not depend on S or on other rows. `interpret`: run the kernel step
    by step, on any platform.
    """
    from jax.experimental.pallas.ops.gpu import decode_attention

    rows, heads, slots, size = k.shape
    filled = jnp.repeat(jnp.minimum(position + 1, slots), heads)
    # One sequence per key-value head. Sums and division are here, in float32: the kernel would
    # round both the sum of the weights and the quotient to bfloat16.
    weighted, (weights, _) = decode_attention.mqa(
        q.reshape(rows * heads, -1, size),
        *(cache.reshape(rows * heads, slots, size) for cache in (k, v)),
        kv_seq_len=filled,
        block_k=BLOCK,
        k_splits=1,
        interpret=interpret,
        normalize_output=False,
        return_residuals=True,
    )
    attended = weighted.astype(jnp.float32) / weights[..., None]
    return attended.astype(q.dtype).reshape(q.shape)


def _written(new, cache, position):
    """The caches [B, K, S, H] with `new` [B, K, H] at slot `position` of each row."""
    update = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=-2)
    return _row_by_row(update, cache, {name: x[:, :, None] for name, x in new.items()}, position)


def _row_by_row(update, cache, new, position):
    """update(cache [..., S, H], new [..., T, H], position []) of each row, in both caches.

    A lone row is written in a loop of one round. Without it XLA writes once for who reads the cache
    and once more for who keeps it, and copies all of it for that.
    """
    if len(position) > 1:
        return jax.tree.map(lambda c, x: jax.vmap(update)(c, x, position), cache, new)

    def write(carry):
        written = jax.tree.map(lambda c, x: update(c, x, position[0]), carry[1], new)
        return jnp.bool_(False), written

    return jax.lax.while_loop(lambda carry: carry[0], write, (position[0] >= 0, cache))[1]


def _attend_slots(q, k, v, position, axes):
    """[B, N, H] of q [B, N, H] and caches whose axes are in this order."""
    shape, heads = q.shape, k.shape[1]
    group = "" if shape[1] == heads else "G"  # queries that read the same keys
    if group:
        q = q.reshape(shape[0], heads, -1, shape[2])
    # With slots last, or without groups, a cache is the right side of its product. With groups and
    # slots first a CPU would copy it for that; as the left side it is read where it is.
    left = group and axes == "BNSH"
    scored = "BNSG" if left else f"BN{group}S"
    scores = (
        _einsum(f"{axes},BNGH->{scored}", k, q)
        if left
        else _einsum(f"BN{group}H,{axes}->{scored}", q, k)
    )
    slots = scored.index("S")
    seen = jnp.arange(scores.shape[slots]) <= position[:, None]
    seen = jnp.expand_dims(seen, [n for n, axis in enumerate(scored) if axis not in "BS"])
    scores = jnp.where(seen, scores * q.shape[-1] ** -0.5, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=slots).astype(v.dtype)
    attended = (
        _einsum(f"{axes},{scored}->BNGH", v, weights)
        if left
        else _einsum(f"{scored},{axes}->BN{group}H", weights, v)
    )
    return attended.astype(q.dtype).reshape(shape)


def attend_several(q, k, v, cache, positions, *, slots_last: bool):
    """T tokens per row, T at most S. `slots_last` is how a TPU stores caches; see
    `attend_slots_last`."""

    def turned(c):
        return c.swapaxes(2, 3) if slots_last else c

    axes, axis = ("BKHS", -1) if slots_last else ("BKSH", -2)
    new = {"k": k.swapaxes(1, 2), "v": v.swapaxes(1, 2)}
    new = jax.tree.map(lambda x, c: turned(x.astype(c.dtype)), new, cache)
    write = functools.partial(_with_several, axis=axis)
    cache = _row_by_row(write, jax.tree.map(turned, cache), new, positions[:, 0])
    rows, count, _, size = q.shape
    grouped = q.reshape(rows, count, cache["k"].shape[1], -1, size)  # [B, T, K, G, H]
    scores = _einsum(f"BTKGH,{axes}->BKGTS", grouped, cache["k"])
    seen = jnp.arange(scores.shape[-1]) <= positions[:, None, None, :, None]
    scores = jnp.where(seen, scores * size**-0.5, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(cache["v"].dtype)
    attended = _einsum(f"BKGTS,{axes}->BTKGH", weights, cache["v"])
    return attended.astype(q.dtype).reshape(q.shape), jax.tree.map(turned, cache)


def _with_several(cache, new, start, axis):
    """A row's cache with `new` in the slots, which are the `axis`, from `start` on that exist.

    With 5 slots, 3 new ones and start 3, slots 2 to 4 are written: the old slot 2 and two of `new`.
    """
    count = new.shape[axis]
    first = jnp.minimum(start, cache.shape[axis] - count)
    old = jax.lax.dynamic_slice_in_dim(cache, first, count, axis=axis)
    mine = jnp.expand_dims(jnp.arange(count) >= start - first, range(1, -axis))
    merged = jnp.where(mine, jnp.roll(new, start - first, axis=axis), old)
    return jax.lax.dynamic_update_slice_in_dim(cache, merged, first, axis=axis)


# In float32, because a GPU would round every product to bfloat16 before adding them.
_einsum = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
