"""How the parameters of `gpt2.py` are laid out over the mesh axes fsdp and tensor."""

from jax.sharding import PartitionSpec as P

# The first match counts. Attention is split by heads, the MLP by its hidden width, the vocabulary
# by rows, so that each block needs one sum over `tensor` per part; `fsdp` splits what is left.
RULES = (
    (r"wte/embedding$", P("tensor", "fsdp")),
    (r"wpe/embedding$", P(None, "fsdp")),
    (r"attn/c_attn/kernel$", P("fsdp", None, "tensor", None)),
    (r"attn/c_attn/bias$", P(None, "tensor", None)),
    (r"attn/c_proj/kernel$", P("tensor", None, "fsdp")),
    (r"mlp/c_fc/kernel$", P("fsdp", "tensor")),
    (r"mlp/c_fc/bias$", P("tensor")),
    (r"mlp/c_proj/kernel$", P("tensor", "fsdp")),
    (r"(ln_1|ln_2|ln_f)/(scale|bias)$", P()),
    (r"c_proj/bias$", P()),
)
