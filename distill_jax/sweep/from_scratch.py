"""How the sweeps over real data change the tiny configs, so that small students can learn
something."""

from typing import Any


def from_scratch(*, context: int, batch_size: int, token_budget: int) -> dict[str, Any]:
    """Overrides for students of 0.9 million parameters with their own BPE, which splits numbers
    into digits; packed rows of `context` tokens, the best checkpoint on dev, the whole test
    split."""
    overrides: dict[str, Any] = {
        "tokenizer.name": "",
        "train.steps": 0,
        "train.token_budget": token_budget,
        "train.batch_size": batch_size,
        "train.save_every": 200,
        "evaluation.checkpoint": "best",
        "evaluation.problems": 0,
    }
    for student in ("decomposer", "solver"):
        overrides |= {
            f"model.{student}.layers": 4,
            f"model.{student}.heads": 4,
            f"model.{student}.width": 128,
            f"model.{student}.context": context,
            f"optimizer.{student}.learning_rate": 1e-3,
            f"optimizer.{student}.warmup_steps": 100,
        } | {
            f"model.{student}.{kind}_dropout": 0.1
            for kind in ("embedding", "attention", "residual")
        }
    return overrides
