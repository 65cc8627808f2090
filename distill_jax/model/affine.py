"""Affine and linear maps in any dtype; the gradients of their parameters are summed in float32."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Adapted(NamedTuple):
    """A kernel that is not trained, and the pair of matrices beside it that are. No gradient of the
    size of W is needed (https://arxiv.org/abs/2106.09685).

    In float32 x (W + A B) is computed: no array of the size of x or y is made or added for A and B.
    bfloat16 would round small A B away in the sum, so there it is x W + (x A) B.
    """

    base: jax.Array  # W, in the dtype in which it is held; first, because flax compares its shape
    a: jax.Array  # [inputs, rank], float32
    b: jax.Array  # [rank, outputs], float32, with the scale of the adapter


class Affine(nn.Module):
    """x @ kernel + bias over the last `inputs` dimensions of x, computed in `dtype`."""

    inputs: int
    features: tuple[int, ...]
    dtype: Any
    kernel_init: Any
    bias: bool = True

    @nn.compact
    def __call__(self, x) -> jax.Array:
        shape = x.shape[-self.inputs :] + self.features
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        if not self.bias:
            return _times(self.inputs, x.astype(self.dtype), kernel)
        bias = self.param("bias", nn.initializers.zeros, self.features, jnp.float32)
        if isinstance(kernel, Adapted):
            return _times(self.inputs, x.astype(self.dtype), kernel) + bias.astype(self.dtype)
        y: Any = _affine(self.inputs, x.astype(self.dtype), kernel, bias)
        return y


def _times(inputs: int, x: jax.Array, kernel: Any) -> jax.Array:
    """x @ kernel in x's dtype; the kernel may be `Adapted`."""
    if not isinstance(kernel, Adapted):
        product: Any = _linear(inputs, x, kernel)
        return product
    base = jax.lax.stop_gradient(kernel.base)
    if x.dtype == jnp.float32:
        whole: Any = _adapted(inputs, x, base, kernel.a, kernel.b)
        return whole
    beside: Any = _linear(1, _linear(inputs, x, kernel.a), kernel.b)
    return _product(inputs, x, base) + beside


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(inputs, x, kernel, bias):
    """The map of `Affine` in x's dtype, whose parameter gradients are summed in float32.

    Plain autodiff would round them to bfloat16 before they are summed over devices.
    """
    return _product(inputs, x, kernel) + bias.astype(x.dtype)


def _affine_forward(inputs, x, kernel, bias):
    return _affine(inputs, x, kernel, bias), (x, kernel)


def _affine_backward(inputs, saved, dy):
    dx, dkernel = _linear_backward(inputs, saved, dy)
    batch = tuple(range(saved[0].ndim - inputs))
    return dx, dkernel, jnp.sum(dy, axis=batch, dtype=jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(inputs, x, kernel):
    """As `_affine`, without a bias."""
    return _product(inputs, x, kernel)


def _linear_forward(inputs, x, kernel):
    return _product(inputs, x, kernel), (x, kernel)


def _linear_backward(inputs, saved, dy):
    x, kernel = saved
    batch = tuple(range(x.ndim - inputs))
    outputs = tuple(range(len(batch), dy.ndim)), tuple(range(inputs, kernel.ndim))
    dx = contracted(dy, kernel.astype(dy.dtype), outputs)
    dkernel = jax.lax.dot_general(
        x, dy, ((batch, batch), ((), ())), preferred_element_type=jnp.float32
    )
    return dx, dkernel


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _adapted(inputs, x, base, a, b):
    """x (W + A B), with gradients of x, A and B."""
    return _product(inputs, x, _merged(base, a, b))


def _adapted_forward(inputs, x, base, a, b):
    return _adapted(inputs, x, base, a, b), (x, base, a, b)


def _adapted_backward(inputs, saved, dy):
    x, *matrices = saved
    # Merged again: without the barrier, W + A B of all layers would be kept from the forward pass.
    dy, matrices = jax.lax.optimization_barrier((dy, matrices))
    base, a, b = matrices
    dx, _ = _linear_backward(inputs, (x, _merged(base, a, b)), dy)
    dbeside, db = _linear_backward(1, (_product(inputs, x, a), b), dy)
    _, da = _linear_backward(inputs, (x, a), dbeside)
    return dx, None, da, db


def _merged(base, a, b):
    product = jnp.tensordot(a, b, axes=1, precision=jax.lax.Precision.HIGHEST)
    return base.astype(jnp.float32) + product


def _product(inputs, x, kernel):
    axes = tuple(range(x.ndim - inputs, x.ndim)), tuple(range(inputs))
    return contracted(x, kernel.astype(x.dtype), axes)


def contracted(a: jax.Array, b: jax.Array, axes: tuple[Sequence[int], Sequence[int]]) -> jax.Array:
    """The product of two arrays of one dtype, summed over `axes` of each, in that dtype.

    A CPU has fast products of bfloat16 (AMX), which XLA uses only if their result is float32; else
    it makes both sides float32 first, and takes several times as long (docs/log.md).
    """
    if a.dtype == jnp.float32:
        return jax.lax.dot_general(a, b, (axes, ((), ())))
    return jax.lax.platform_dependent(
        a,
        b,
        cpu=lambda a, b: jax.lax.dot_general(
            a, b, (axes, ((), ())), preferred_element_type=jnp.float32
        ).astype(a.dtype),
        default=lambda a, b: jax.lax.dot_general(a, b, (axes, ((), ()))),
    )


_affine.defvjp(_affine_forward, _affine_backward)
_linear.defvjp(_linear_forward, _linear_backward)
_adapted.defvjp(_adapted_forward, _adapted_backward)
