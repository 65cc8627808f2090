"""An affine map computed in any dtype whose parameter gradients are summed in float32."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Affine(nn.Module):
    """x @ kernel + bias over the last `inputs` dimensions of x, computed in `dtype`."""

    inputs: int
    features: tuple[int, ...]
    dtype: Any
    kernel_init: Any

    @nn.compact
    def __call__(self, x) -> jax.Array:
        shape = x.shape[-self.inputs :] + self.features
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, self.features, jnp.float32)
        y: Any = _affine(self.inputs, x.astype(self.dtype), kernel, bias)
        return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(inputs, x, kernel, bias):
    """The map of `Affine` in x's dtype, whose parameter gradients are summed in float32.

    Plain autodiff would round them to bfloat16 before they are summed over devices.
    """
    axes = tuple(range(x.ndim - inputs, x.ndim)), tuple(range(inputs))
    y = jax.lax.dot_general(x, kernel.astype(x.dtype), (axes, ((), ())))
    return y + bias.astype(x.dtype)


def _affine_forward(inputs, x, kernel, bias):
    return _affine(inputs, x, kernel, bias), (x, kernel)


def _affine_backward(inputs, saved, dy):
    x, kernel = saved
    batch = tuple(range(x.ndim - inputs))
    outputs = tuple(range(len(batch), dy.ndim)), tuple(range(inputs, kernel.ndim))
    dx = jax.lax.dot_general(dy, kernel.astype(dy.dtype), (outputs, ((), ())))
    dkernel = jax.lax.dot_general(
        x, dy, ((batch, batch), ((), ())), preferred_element_type=jnp.float32
    )
    return dx, dkernel, jnp.sum(dy, axis=batch, dtype=jnp.float32)


_affine.defvjp(_affine_forward, _affine_backward)
