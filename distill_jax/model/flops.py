"""Floating point operations of a network, as we count them; compilers count a loop only once."""

from distill_jax.model.network import NetworkConfig


def forward_flops(config: NetworkConfig, tokens: int, pairs: int, head_tokens: int) -> int:
    """FLOPs of the matrix products, 2 per multiplication and addition; nothing else counts.

    tokens       through the blocks: `config.block_weights` multiplications each
    pairs        (query, key) pairs of attention, over all rows: one multiplication for the score
                 and one for the sum, for every number of every head of every layer. A row of T
                 tokens has T (T + 1) / 2.
    head_tokens  tokens whose logits are computed: V D multiplications each
    """
    attention = 2 * config.layers * config.heads * config.head_dim * pairs
    head = config.vocab_size * config.width * head_tokens
    return 2 * (config.block_weights * tokens + attention + head)


def train_flops(config: NetworkConfig, tokens: int, pairs: int, head_tokens: int) -> int:
    """FLOPs of a forward and a backward pass, which has two products for each forward product.

    Products that are computed a second time (remat, blocks of attention) do not count: model FLOPs
    utilisation counts the necessary ones (PaLM, https://arxiv.org/abs/2204.02311, appendix B, which
    counts attention to all T keys; here only those before the query, as in FlashAttention-2).
    """
    return 3 * forward_flops(config, tokens, pairs, head_tokens)


def adapter_flops(
    config: NetworkConfig, tokens: int, pairs: int, head_tokens: int, trained: int
) -> int:
    """`train_flops` beside a frozen base, with adapters of `trained` numbers: the base's matrices
    need no gradient of their own."""
    every = train_flops(config, tokens, pairs, head_tokens)
    frozen = config.block_weights * tokens + config.vocab_size * config.width * head_tokens
    return every - 2 * frozen + 6 * trained * tokens


def decode_flops(config: NetworkConfig, rows: int, filled: int) -> int:
    """FLOPs of one decode step with a cache: one token of each row, which attends to `filled`
    tokens (including itself), and its logits."""
    return forward_flops(config, rows, rows * filled, rows)


def causal_pairs(length: int) -> int:
    """(query, key) pairs of one row or segment of `length` tokens."""
    return length * (length + 1) // 2
