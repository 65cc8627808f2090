"""Floating point operations of GPT-2, by our own count: a compiler's figure counts a loop once."""

from distill_jax.model.gpt2 import GPT2Config


def forward_flops(config: GPT2Config, tokens: int, pairs: int, head_tokens: int) -> int:
    """Of matrix products, 2 per multiplication and addition; the rest is left out.

    tokens       through the blocks: 12 D^2 multiplications per layer
                 (c_attn 3 D^2, c_proj D^2, c_fc 4 D^2, c_proj 4 D^2)
    pairs        (query, key) pairs that attention looks at, over all rows: D for the score and D
                 for the sum, per layer. A row of T tokens has T (T + 1) / 2.
    head_tokens  whose logits are computed: V D multiplications each
    """
    width = config.width
    blocks = 12 * width**2 * tokens + 2 * width * pairs
    return 2 * (config.layers * blocks + config.vocab_size * width * head_tokens)


def train_flops(config: GPT2Config, tokens: int, pairs: int, head_tokens: int) -> int:
    """Of a forward and a backward pass, which has two products for each one of the forward pass.

    What is computed a second time (remat, blocks of attention) does not count: model FLOPs
    utilisation asks what was needed (PaLM, https://arxiv.org/abs/2204.02311, appendix B, which
    counts attention to all T keys; here only those before the query, as in FlashAttention-2).
    """
    return 3 * forward_flops(config, tokens, pairs, head_tokens)


def decode_flops(config: GPT2Config, rows: int, filled: int) -> int:
    """Of one decode step with a cache: one token of each row, which attends to `filled` tokens (its
    own included), and its logits."""
    return forward_flops(config, rows, rows * filled, rows)


def causal_pairs(length: int) -> int:
    """(query, key) pairs of one row or segment of `length` tokens."""
    return length * (length + 1) // 2
