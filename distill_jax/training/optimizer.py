"""AdamW with warm-up, cosine decay and clipping."""

from typing import Any

import jax
import optax

from distill_jax.model import lora
from distill_jax.settings import ranges

_MATRICES = ("kernel", "embedding", lora.A, lora.B, lora.ROWS)


def learning_rate_schedule(
    *, steps: int, learning_rate: float, final_learning_rate: float, warmup_steps: int
) -> optax.Schedule:
    """Linear from 0 to `learning_rate`, then a cosine down to `final_learning_rate` at `steps`."""
    return optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, min(warmup_steps, steps - 1), steps, final_learning_rate
    )


def make_optimizer(
    schedule: optax.Schedule,
    *,
    b1: float,
    b2: float,
    epsilon: float,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """Clip by global norm (0 = never), then AdamW; no weight decay for biases and LayerNorms."""
    clip = optax.clip_by_global_norm(clip_norm) if clip_norm > 0 else optax.identity()
    adamw = optax.adamw(
        schedule, b1=b1, b2=b2, eps=epsilon, weight_decay=weight_decay, mask=decay_mask
    )
    return optax.chain(clip, adamw)


def decay_mask(params: Any) -> Any:
    """True for kernels and embeddings, and for what is trained of them beside a base."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in _MATRICES, params)


def mistakes(settings: Any, student: str) -> list[str]:
    """What is wrong with config.optimizer.<student>; 0 means no training, no decay, no clipping."""
    least = dict.fromkeys(settings, 0.0) | {
        "epsilon": 1e-30,  # 0 would divide by 0 if a gradient is 0
        "warmup_steps": 0,
    }
    return ranges.mistakes(
        f"optimizer.{student}", settings, least=least, below={"b1": 1.0, "b2": 1.0}
    )
