"""Which token a row writes next: greedy, or drawn from what temperature, top-k and top-p leave.

B rows, V vocabulary. As in transformers and vLLM the temperature comes first, then top-k, then
top-p of what top-k left.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Narrow(NamedTuple):
    """Which tokens can be drawn. Arrays, as in Draw."""

    top_k: Any  # int32 []; only the k most likely tokens; 0 = all
    top_p: Any  # float32 []; only the fewest that together have p; 1 = all


class Draw(NamedTuple):
    """How tokens are drawn; arrays, so that other values need no other compilation."""

    temperature: Any  # float32 [], above 0
    narrow: Narrow | None  # None = from all tokens


# None is greedy. The program does not contain the code that draws then: if every step decided
# whether to draw, a GPU would wait for the host in every step.
How = Draw | None


def draw(temperature: float = 0.0, top_k: int = 0, top_p: float = 1.0) -> How:
    """From plain numbers: temperature 0 is greedy; top_k 0 and top_p 1 allow all tokens."""
    if temperature == 0:
        return None
    narrowed = Narrow(np.int32(top_k), np.float32(top_p)) if top_k > 0 or top_p < 1 else None
    return Draw(np.float32(temperature), narrowed)


def pick(logits: jax.Array, keys: jax.Array, counts: jax.Array, how: How) -> jax.Array:
    """Tokens int32 [B] from logits float32 [B, V], which are -inf for tokens that are not allowed.

    keys    uint32 [B, 2], a row's own key; counts int32 [B], which of its tokens this is: the draw
            depends on these two and the row's logits alone, not on its neighbours or its slot.
    """
    if how is None:
        return most_likely(logits)
    scaled = logits / how.temperature
    if how.narrow is not None:
        scaled = narrow(scaled, how.narrow.top_k, how.narrow.top_p)
    step_keys = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(keys), counts)
    return sample(scaled, jax.vmap(jax.random.uniform)(step_keys))


def most_likely(logits: jax.Array) -> jax.Array:
    """int32 [B]: the first of the largest logits [B, V]; 4 times as fast as argmax on a CPU."""
    vocabulary = logits.shape[-1]
    largest = jnp.max(logits, axis=-1, keepdims=True)
    places = jnp.where(logits == largest, jnp.arange(vocabulary, dtype=jnp.int32), vocabulary - 1)
    return jnp.min(places, axis=-1)


def sample(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """int32 [B]: the first token up to which the probabilities of logits [B, V] sum to more than
    uniform [B] in [0, 1).

    One random number per row; the Gumbel trick draws one per word (9 times as slow on a CPU). The
    sums are taken over blocks of 128 words first: shorter ones lose less to rounding.
    """
    rows, vocabulary = logits.shape
    weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True)).reshape(rows, -1, 128)
    assert vocabulary % 128 == 0, vocabulary
    blocks = jnp.cumsum(jnp.sum(weights, axis=-1), axis=-1)  # [B, V / 128]
    target = jnp.minimum(uniform * blocks[:, -1], jnp.nextafter(blocks[:, -1], 0.0))[:, None]
    block = jnp.sum(blocks <= target, axis=-1, keepdims=True)
    before = jnp.where(block > 0, jnp.take_along_axis(blocks, jnp.maximum(block - 1, 0), 1), 0.0)
    inside = jnp.take_along_axis(weights, block[:, :, None], axis=1)[:, 0]
    inside = jnp.cumsum(inside, axis=-1)  # [B, 128]
    target = jnp.minimum(target - before, jnp.nextafter(inside[:, -1:], 0.0))
    return (128 * block[:, 0] + jnp.sum(inside <= target, axis=-1)).astype(jnp.int32)


def narrow(logits: jax.Array, top_k: jax.Array, top_p: jax.Array) -> jax.Array:
    """Logits [B, V] with -inf outside of the k most likely tokens, and of the fewest of these whose
    probability is at least p. Tokens as likely as the last one of them stay too.

    Both are a threshold, found by bisection over the bits of a float32: 32 passes over the logits
    and no sort, which takes longer on every platform at 50,000 words.
    """
    vocabulary = logits.shape[-1]
    wanted = jnp.where(top_k > 0, jnp.minimum(top_k, vocabulary), vocabulary)
    ones = jnp.ones_like(logits)
    logits = _keep(logits, ones, wanted.astype(jnp.float32))
    probabilities = jax.nn.softmax(logits, axis=-1)
    # p = 1 keeps all tokens; rounding would drop those whose probability is lost in the sum.
    narrowed = _keep(logits, probabilities, top_p)
    return jnp.where(top_p < 1.0, narrowed, logits)


def _keep(logits: jax.Array, weights: jax.Array, wanted: jax.Array) -> jax.Array:
    """-inf below the largest threshold at which the kept weights still sum to `wanted`."""
    order = _ordered(logits)

    def halve(_, bounds):
        low, high = bounds  # enough stays at low, too little at high
        middle = low // 2 + high // 2 + (low & high & 1)
        enough = jnp.sum(weights * (order >= middle[:, None]), axis=-1) >= wanted
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    limits = jnp.iinfo(jnp.int32)
    rows = logits.shape[0]
    bounds = (jnp.full(rows, limits.min, jnp.int32), jnp.full(rows, limits.max, jnp.int32))
    low, _ = jax.lax.fori_loop(0, 32, halve, bounds)
    return jnp.where(order >= low[:, None], logits, -jnp.inf)


def _ordered(x: jax.Array) -> jax.Array:
    """float32 to int32 in the same order; the bits of negative floats are in reverse order."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    return bits ^ ((bits >> 31) & jnp.int32(0x7FFFFFFF))
