"""The train state and the one jitted training step."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from distill_jax import sharding
from distill_jax.model import gpt2, partition


class TrainState(flax.struct.PyTreeNode):
    """Everything a checkpoint holds. `step` counts completed updates."""

    step: jax.Array  # int32 []
    params: Any
    opt_state: Any


def loss_sums(
    config: gpt2.GPT2Config, params: Any, batch: dict[str, jax.Array], allowed: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Cross entropy in nats summed over the loss tokens, and their number: float32 [], [].

    batch    what `training/batches.py` describes, [B, ...]
    allowed  bool [R, V]: what each role may write; anything else has no probability
    """
    inputs = batch["inputs"]
    length = inputs.shape[1]
    positions = jnp.broadcast_to(jnp.arange(length), inputs.shape)
    hidden, _ = gpt2.GPT2(config).apply(
        {"params": params}, inputs, positions, gpt2.causal_mask(length)
    )
    hidden = jnp.take_along_axis(hidden, batch["loss_positions"][..., None], axis=1)
    logits = gpt2.logits(params, hidden)  # [B, loss_capacity, V]
    logits = jnp.where(allowed[batch["writers"]], logits, jnp.finfo(logits.dtype).min)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch["targets"])
    mask = batch["writers"] >= 0
    return jnp.sum(losses, where=mask), jnp.sum(mask, dtype=jnp.float32)


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    config: gpt2.GPT2Config,
    optimizer: optax.GradientTransformation,
    allowed: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. Loss is sum / sum over the loss tokens of the whole batch, on all devices."""

    def mean_loss(params):
        total, count = loss_sums(config, params, batch, allowed)
        return total / jnp.maximum(count, 1.0)

    loss, grads = jax.value_and_grad(mean_loss)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, params, opt_state), metrics


def init_state(
    config: gpt2.GPT2Config, optimizer: optax.GradientTransformation, key: jax.Array
) -> TrainState:
    """Random parameters, zero moments, step 0."""
    params = gpt2.init_params(config, key)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))


def abstract_state(
    mesh: Mesh, config: gpt2.GPT2Config, optimizer: optax.GradientTransformation
) -> TrainState:
    """Shapes, dtypes and shardings of `init_state`, without any memory."""
    shapes = jax.eval_shape(lambda key: init_state(config, optimizer, key), jax.random.key(0))
    layout = sharding.shardings(mesh, sharding.match_rules(partition.RULES, shapes))
    return jax.tree.map(
        lambda shape, place: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place),
        shapes,
        layout,
    )


def make_init(
    abstract: TrainState, config: gpt2.GPT2Config, optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], TrainState]:
    """`init_state` jitted so that nothing is ever held unsharded."""
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    return jax.jit(lambda key: init_state(config, optimizer, key), out_shardings=places)


def compile_step(
    mesh: Mesh,
    abstract: TrainState,
    batch: dict[str, Any],
    config: gpt2.GPT2Config,
    optimizer: optax.GradientTransformation,
    allowed: jax.Array,
):
    """Compile `train_step` for the shapes of `abstract` and of one host `batch`.

    Returns a function (state, batch) -> (state, metrics); it gives the state's memory away. To be
    called under `jax.set_mesh(mesh)`.
    """
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    rows = sharding.shardings(mesh, jax.tree.map(lambda _: sharding.BATCH, batch))
    nowhere = sharding.shardings(mesh, PartitionSpec())

    def step(state, batch):
        return train_step(state, batch, config=config, optimizer=optimizer, allowed=allowed)

    jitted = jax.jit(
        step, in_shardings=(places, rows), out_shardings=(places, nowhere), donate_argnums=0
    )
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in batch.items()}
    return jitted.lower(abstract, shapes).compile()
