"""The train state, the one jitted training step, and the one that measures the dev loss."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from distill_jax.model import attention, lora, network, sharding
from distill_jax.model.layers import Mix
from distill_jax.model.network import NetworkConfig
from distill_jax.settings import ranges
from distill_jax.training import loss
from distill_jax.training.chunks import LossTokens


class TrainState(flax.struct.PyTreeNode):
    """Everything in a checkpoint. `step` counts completed updates."""

    step: jax.Array  # int32 []
    params: Any  # float32; of a student with an adapter only what is trained, see model/lora.py
    opt_state: Any
    measured_step: jax.Array  # int32 [] the last step measured on dev, -1 = none yet
    best_step: jax.Array  # int32 [] the one with the best dev value so far, -1 = none yet
    best_value: jax.Array  # float32 [] that value, lower is better


@dataclasses.dataclass(frozen=True)
class Computation:
    """How a student is computed in training. This changes what is learned only by rounding.

    dtype         of activations, "float32" or "bfloat16"; parameters and sums stay float32
    kernel        of attention, model/attention.py
    remat         keep only the inputs of blocks for the backward pass
    accumulation  micro-batches per step, one after another
    loss_chunk    loss tokens per device whose logits exist at a time
    """

    dtype: str = "float32"
    kernel: str = "xla"
    remat: bool = False
    accumulation: int = 1
    loss_chunk: int = 1024

    def network(self, config: NetworkConfig) -> nn.Module:
        """The network of `config`, computed this way."""
        dtype, layout = jnp.dtype(self.dtype), sharding.BATCH
        return config.module(dtype, kernel=self.kernel, remat=self.remat, layout=layout)


class Objective(Protocol):
    """What a step minimises: the sum over its terms of weight * sum / count.

    A term's count is that of the whole batch, over all micro-batches and devices; its sum is added
    up over micro-batches, so the mean is taken once. Counts therefore depend only on the batch.
    Both methods return float32 [] for each term, under the names of `weights`, and may return more:
    means under other names are measured, and not minimised.
    """

    @property
    def weights(self) -> Mapping[str, float]:
        """Of each term. A term whose weight is 0 is left out, here and in what is computed."""
        ...

    def counts(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The divisor of each term's sum (0: there is nothing to learn, and the term is 0)."""
        ...

    def sums(
        self,
        trainer: "Trainer",
        params: Any,
        frozen: dict[str, Any],
        batch: dict[str, jax.Array],
        key: jax.Array | None,
    ) -> dict[str, jax.Array]:
        """Sums over a batch or a micro-batch, differentiated by `params` alone. `key` is for
        dropout and drawing, None without dropout.

        `frozen` holds the parameters of students that are only read, by name. [B, T, V] must not
        exist, for any student: see `training/loss.py`.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What is needed for a student's steps; `allowed` is bool [R, V]: what each role may write."""

    config: NetworkConfig
    optimizer: optax.GradientTransformation
    computation: Computation
    allowed: Any
    seed: int  # of dropout
    objective: Objective
    adapter: lora.Adapter | None = None

    def whole(self, params: Any, frozen: dict[str, Any]) -> Any:
        """The parameters of the network: with an adapter, those of the base in `frozen` too."""
        return params if self.adapter is None else self.adapter.beside(frozen[lora.BASE], params)


def loss_tokens(
    trainer: Trainer,
    params: Any,
    batch: dict[str, jax.Array],
    dropout_key: jax.Array | None,
    mix: Mix | None = None,
) -> LossTokens:
    """The network's outputs and the loss tokens of a batch (see `training/batches.py`); `mix`:
    tokens that are mixed into its rows."""
    inputs = batch["inputs"]
    positions = batch.get("positions")
    if positions is None:
        # Padding may reach beyond the context; nothing reads it there.
        count = jnp.minimum(jnp.arange(inputs.shape[1]), trainer.config.context - 1)
        positions = jnp.broadcast_to(count, inputs.shape)
    rngs = {} if dropout_key is None else {"dropout": dropout_key}
    hidden, _ = trainer.computation.network(trainer.config).apply(
        {"params": params}, inputs, positions, batch.get("segments"), mix=mix, rngs=rngs
    )
    return LossTokens(hidden, batch["loss_positions"], batch["targets"], batch["writers"])


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    frozen: dict[str, Any],
    *,
    trainer: Trainer,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update of the mean loss (see `Objective`). `frozen` holds the parameters of students
    that the objective only reads, by name, and the base of an adapter.

    The metrics are the loss, the norm of its gradient, if there are several terms the mean of each
    without its weight, as `loss_NAME`, and what else the objective measures, as `NAME`.

    Micro-batch i of A has the rows i, i + A, i + 2 A, ..., so each device cuts its own rows.
    """
    parts = trainer.computation.accumulation
    counts = jax.tree.map(
        lambda count: jnp.where(count > 0, count, 1.0), trainer.objective.counts(batch)
    )

    def mean_loss(params, micro_batch, key):
        whole = trainer.whole(params, frozen)
        sums = trainer.objective.sums(trainer, whole, frozen, micro_batch, key)
        means = jax.tree.map(jnp.divide, sums, counts)
        weighted = (weight * means[name] for name, weight in trainer.objective.weights.items())
        return functools.reduce(jnp.add, weighted), means

    gradient = jax.value_and_grad(mean_loss, has_aux=True)
    key = None
    if network.drops(trainer.config):
        key = jax.random.fold_in(jax.random.key(trainer.seed), state.step)
    if parts == 1:
        (value, means), grads = gradient(state.params, batch, key)
    else:
        split = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), batch
        )

        def add(sums, numbered):
            number, micro_batch = numbered
            micro_key = None if key is None else jax.random.fold_in(key, number)
            new = gradient(state.params, micro_batch, micro_key)
            return jax.tree.map(jnp.add, sums, new), None

        nothing = dict.fromkeys(counts, jnp.float32(0.0))
        zeros = ((jnp.float32(0.0), nothing), jax.tree.map(jnp.zeros_like, state.params))
        ((value, means), grads), _ = jax.lax.scan(add, zeros, (jnp.arange(parts), split))
    updates, opt_state = trainer.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    metrics = {"loss": value, "grad_norm": optax.tree.norm(grads)}
    terms = trainer.objective.weights
    if len(terms) > 1:
        metrics |= {f"loss_{name}": means[name] for name in terms}
    metrics |= {name: mean for name, mean in means.items() if name not in terms}
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), metrics


def dev_step(params: Any, batch: dict[str, jax.Array], *, trainer: Trainer) -> dict[str, jax.Array]:
    """Sums over a batch of whole rows, without dropout: float32 [] each.

    loss_sum in nats; loss_tokens, their number; exact, the rows in which every loss token is the
    most likely token; rows, those that have a loss token.
    """
    tokens = loss_tokens(trainer, params, batch, None)
    losses, right = loss.token_losses(
        trainer.computation.loss_chunk, trainer.config.head(params), tokens, trainer.allowed
    )
    real = batch["length"] > 0
    return {
        "loss_sum": jnp.sum(losses),
        "loss_tokens": jnp.sum(batch["writers"] >= 0, dtype=jnp.float32),
        "exact": jnp.sum(jnp.all(right, axis=1) & real, dtype=jnp.float32),
        "rows": jnp.sum(real, dtype=jnp.float32),
    }


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """These parameters, zero moments, step 0."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        measured_step=jnp.full((), -1, jnp.int32),
        best_step=jnp.full((), -1, jnp.int32),
        best_value=jnp.full((), jnp.inf, jnp.float32),
    )


def abstract_state(
    mesh: Mesh,
    config: NetworkConfig,
    optimizer: optax.GradientTransformation,
    adapter: lora.Adapter | None = None,
) -> TrainState:
    """Shapes, dtypes and shardings of `init_state`; uses no memory."""
    trained = adapter.shapes() if adapter else _param_shapes(config)
    shapes = jax.eval_shape(lambda params: init_state(params, optimizer), trained)
    return _laid_out(mesh, (adapter or config).partition_rules, shapes)


def abstract_params(mesh: Mesh, config: NetworkConfig) -> Any:
    """Shapes, dtypes and shardings of a student's parameters alone."""
    return _laid_out(mesh, config.partition_rules, _param_shapes(config))


def abstract_trained(mesh: Mesh, adapter: lora.Adapter) -> Any:
    """The same of what is trained beside a base."""
    return _laid_out(mesh, adapter.partition_rules, adapter.shapes())


def abstract_base(mesh: Mesh, adapter: lora.Adapter) -> Any:
    """The same of the base, as it is held during training."""
    return _laid_out(mesh, adapter.model.partition_rules, adapter.base_shapes())


def abstract_frozen(mesh: Mesh, adapter: lora.Adapter | None) -> dict[str, Any]:
    """What a step of a likelihood only reads."""
    return {} if adapter is None else {lora.BASE: abstract_base(mesh, adapter)}


def _param_shapes(config: NetworkConfig) -> Any:
    return jax.eval_shape(lambda: network.init_params(config, jax.random.key(0)))


def _laid_out(mesh: Mesh, rules: sharding.Rules, shapes: Any) -> Any:
    layout = sharding.shardings(mesh, sharding.match_rules(rules, shapes))
    return jax.tree.map(
        lambda shape, place: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place),
        shapes,
        layout,
    )


def random_state(
    abstract: TrainState, config: NetworkConfig, optimizer: optax.GradientTransformation, key
) -> TrainState:
    """Random parameters, made on the devices that hold them; they are never in memory unsharded."""
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    init = jax.jit(
        lambda key: init_state(network.init_params(config, key), optimizer), out_shardings=places
    )
    return init(key)


def state_from_params(
    abstract: TrainState, optimizer: optax.GradientTransformation, params: Any
) -> TrainState:
    """The first state from float32 arrays on the host; each device gets its part."""
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    init = jax.jit(lambda params: init_state(params, optimizer), out_shardings=places)
    return init(placed(abstract.params, params))


def placed(abstract: Any, values: Any) -> Any:
    """Host arrays, the same in every process, laid out as `abstract` says."""
    return jax.tree.map(
        lambda value, leaf: jax.make_array_from_callback(
            leaf.shape, leaf.sharding, functools.partial(_part, value)
        ),
        values,
        abstract,
    )


def merge_on(mesh: Mesh, adapter: lora.Adapter) -> Callable[[Any, Any], Any]:
    """`Adapter.merge` jitted, with the parameters laid out over the mesh."""
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract_params(mesh, adapter.model))
    return jax.jit(adapter.merge, out_shardings=places)


def _part(value, index):
    return value[index]


def lower_step(
    mesh: Mesh,
    abstract: TrainState,
    batch: dict[str, Any],
    frozen: dict[str, Any],
    trainer: Trainer,
) -> jax.stages.Lowered:
    """`train_step` traced for the shapes of `abstract`, of one global `batch` and of `frozen`
    (`abstract_params` of each student that is only read).

    The compiled function is (state, batch, frozen) -> (state, metrics); it donates only the state's
    memory. Call it under `jax.set_mesh(mesh)`.
    """
    places, frozen_places = jax.tree.map(lambda leaf: leaf.sharding, (abstract, frozen))
    rows = sharding.shardings(mesh, jax.tree.map(lambda _: sharding.BATCH, batch))
    nowhere = sharding.shardings(mesh, PartitionSpec())
    jitted = jax.jit(
        functools.partial(train_step, trainer=trainer),
        in_shardings=(places, rows, frozen_places),
        out_shardings=(places, nowhere),
        donate_argnums=0,
    )
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in batch.items()}
    return jitted.lower(abstract, shapes, frozen)


def make_dev_step(mesh: Mesh, trainer: Trainer) -> Callable[[Any, dict[str, jax.Array]], Any]:
    """`dev_step`, jitted, with the kernel for rows of any length; its sums are on every device."""
    computation = dataclasses.replace(trainer.computation, kernel="xla", remat=False)
    trainer = dataclasses.replace(trainer, computation=computation)
    nowhere = sharding.shardings(mesh, PartitionSpec())
    return jax.jit(functools.partial(dev_step, trainer=trainer), out_shardings=nowhere)


def make_measurement(
    mesh: Mesh, trainer: Trainer
) -> Callable[[Any, dict[str, jax.Array]], tuple[dict[str, jax.Array], dict[str, jax.Array]]]:
    """(sums, counts) of an objective that reads nobody else, without dropout, jitted; they are on
    every device."""

    def measure(params, batch):
        sums = trainer.objective.sums(trainer, params, {}, batch, None)
        return sums, trainer.objective.counts(batch)

    return jax.jit(measure, out_shardings=sharding.shardings(mesh, PartitionSpec()))


def mistakes(train: Any) -> list[str]:
    """What is wrong with the keys of config.train that say how a step is computed."""
    least = {"batch_size": 1, "accumulation": 1, "loss_chunk": 1}
    choices = {
        "dtype": ("float32", "bfloat16"),
        "attention": ("auto", *attention.KERNELS),
    }
    values = {key: train[key] for key in (*least, *choices)}
    found = ranges.mistakes("train", values, least=least, choices=choices)
    if train.accumulation > 0 and train.batch_size % train.accumulation:
        found.append(
            f"config.train.batch_size={train.batch_size} does not divide by "
            f"config.train.accumulation={train.accumulation}"
        )
    return found
