"""The values that a key of the config may have, whatever the others are."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distill_jax.text.formats import FORMATS

# The least value of keys for which a smaller one makes no sense.
LEAST = {
    "seed": 0,
    "tokenizer.vocab_size": 258,  # all bytes and two end marks
    "data.train_problems": 0,
    "data.seq_len": 0,
    "data.dev_problems": 0,
    "data.max_dropped_share": 0.0,
    "data.annotations_per_problem": 0,
    "data.max_overlap": 0.0,
    "teacher.samples": 1,
    "teacher.temperature": 0.0,
    "teacher.max_tokens": 1,
    "teacher.concurrency": 1,
    "teacher.requests_per_minute": 0,
    "teacher.tokens_per_minute": 0,
    "teacher.retries": 0,
    "teacher.price_input": 0.0,
    "teacher.price_output": 0.0,
    "train.steps": 0,
    "train.epochs": 0,
    "train.token_budget": 0,
    "train.batch_size": 1,
    "train.accumulation": 1,
    "train.loss_chunk": 1,
    "train.eval_every": 0,
    "train.patience": 0,
    "train.dev_dialogues": 0,
    "train.log_every": 1,
    "train.save_every": 1,
    "train.keep": 1,
    "train.profile_first": 0,
    "train.profile_last": 0,
    "sampling.temperature": 0.0,
    "sampling.max_turns": 1,
    "sampling.max_turn_tokens": 1,
    "sampling.max_tokens": 1,
    "sampling.top_k": 0,
    "sampling.samples": 1,
    "sampling.seed": 0,
    "sampling.slots": 0,
    "sampling.given_steps": 0,
    "evaluation.problems": 0,
    "evaluation.max_too_long_share": 0.0,
}
# The same for every student's optimizer; 0 is no training, no decay, no clipping.
OPTIMIZER_LEAST = {
    "learning_rate": 0.0,
    "final_learning_rate": 0.0,
    "warmup_steps": 0,
    "b1": 0.0,
    "b2": 0.0,
    "epsilon": 1e-30,  # 0 would divide by 0 where a gradient is 0
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}
# The values that a key may have.
CHOICES = {
    "train.dtype": ("float32", "bfloat16"),
    "train.best_by": ("loss", "exact", "accuracy"),
    "sampling.dtype": ("float32", "bfloat16"),
    "sampling.attention": ("xla", "triton"),
    "teacher.api": ("chat", "completions"),
    "sampling.given": ("", "plan", "subquestions", "shuffled", "nothing", "history"),
    "text_format": tuple(FORMATS),
}


def out_of_range(flat: Mapping[str, Any]) -> list[str]:
    """What is wrong with single values of a config, `{key: value}`."""
    mistakes = []
    least = dict(LEAST)
    below = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        if section.startswith("optimizer."):
            least |= {key: OPTIMIZER_LEAST[name]} if name in OPTIMIZER_LEAST else {}
            below |= {key: 1.0} if name in ("b1", "b2") else {}
        elif section.startswith("model.") and name.endswith("_dropout"):
            least[key], below[key] = 0.0, 1.0
        # A task's options are its own affair.
        if isinstance(value, float) and section != "task_options" and not math.isfinite(value):
            mistakes.append(f"config.{key}={value}: must be a finite number")
            least.pop(key, None)
    for key, bound in least.items():
        # Not `<`: nothing is less than NaN.
        if not flat[key] >= bound:
            mistakes.append(f"config.{key}={flat[key]}: must be at least {bound}")
        elif key in below and not flat[key] < below[key]:
            mistakes.append(f"config.{key}={flat[key]}: must be below {below[key]}")
    mistakes += [
        f"config.{key}={flat[key]!r}: choose {_listed(choices)}"
        for key, choices in CHOICES.items()
        if flat[key] not in choices
    ]
    return mistakes


def _listed(choices: Sequence[str]) -> str:
    return ", ".join(choice or '""' for choice in choices)
