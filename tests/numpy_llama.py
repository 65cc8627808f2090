"""Llama, Qwen 2 and Qwen 3 written once more in numpy, as plainly as possible."""

import numpy as np
from numpy_gpt2 import softmax


def rms_norm(x, p, epsilon):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * p["scale"]


def rotate(x, theta):
    """[T, H], each row turned by its position; halves belong together."""
    half = x.shape[1] // 2
    angle = np.arange(len(x))[:, None] * theta ** (-np.arange(half) / half)
    a, b = x[:, :half], x[:, half:]
    turned = (a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle))
    return np.concatenate(turned, axis=1)


def attention(x, p, config):
    heads = []
    for n in range(config.heads):
        group = n // (config.heads // config.key_value_heads)
        parts = {}
        for name, head in (("q", n), ("k", group), ("v", group)):
            own = p[f"{name}_proj"]
            parts[name] = x @ own["kernel"][:, head]
            if config.qkv_bias:
                parts[name] = parts[name] + own["bias"][head]
            if config.qk_norm and name != "v":
                parts[name] = rms_norm(parts[name], p[f"{name}_norm"], config.norm_epsilon)
        q, k = (rotate(parts[name], config.rope_theta) for name in "qk")
        scores = q @ k.T / np.sqrt(config.head_dim)
        scores[np.triu_indices(len(x), 1)] = -np.inf
        heads.append(softmax(scores) @ parts["v"])
    return np.einsum("nth,nhd->td", heads, p["o_proj"]["kernel"])


def logits(config, params, tokens):
    """Logits of the last token: float [V] for int ids [T]."""
    x = params["embed_tokens"]["embedding"][tokens]
    for layer in range(config.layers):
        p = params[f"layers_{layer}"]
        norm = rms_norm(x, p["input_layernorm"], config.norm_epsilon)
        x = x + attention(norm, p["self_attn"], config)
        norm = rms_norm(x, p["post_attention_layernorm"], config.norm_epsilon)
        gate, up = (norm @ p["mlp"][f"{name}_proj"]["kernel"] for name in ("gate", "up"))
        x = x + (gate / (1 + np.exp(-gate)) * up) @ p["mlp"]["down_proj"]["kernel"]
    head = params["embed_tokens" if config.tied else "lm_head"]["embedding"]
    return rms_norm(x[-1], params["norm"], config.norm_epsilon) @ head.T
