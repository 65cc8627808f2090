"""GPT-2 written once more in numpy, as plainly as possible: what the jitted code must equal."""

import numpy as np


def layer_norm(x, p):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(x, p):
    tokens, width = x.shape
    heads = []
    for n in range(p["c_attn"]["kernel"].shape[2]):
        q, k, v = (x @ p["c_attn"]["kernel"][:, i, n] + p["c_attn"]["bias"][i, n] for i in range(3))
        scores = q @ k.T / np.sqrt(q.shape[1])
        scores[np.triu_indices(tokens, 1)] = -np.inf
        heads.append(softmax(scores) @ v)
    kernel = p["c_proj"]["kernel"].reshape(width, width)
    return np.concatenate(heads, axis=1) @ kernel + p["c_proj"]["bias"]


def logits(params, tokens):
    """Logits of the last token: float32 [V] for int ids [T]."""
    x = params["wte"]["embedding"][tokens] + params["wpe"]["embedding"][: len(tokens)]
    for layer in range(sum(name.startswith("h_") for name in params)):
        p = params[f"h_{layer}"]
        x = x + attention(layer_norm(x, p["ln_1"]), p["attn"])
        hidden = layer_norm(x, p["ln_2"]) @ p["mlp"]["c_fc"]["kernel"] + p["mlp"]["c_fc"]["bias"]
        x = x + gelu(hidden) @ p["mlp"]["c_proj"]["kernel"] + p["mlp"]["c_proj"]["bias"]
    return layer_norm(x[-1], params["ln_f"]) @ params["wte"]["embedding"].T
