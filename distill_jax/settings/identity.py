"""Which keys of a config decide what the students are."""

from collections.abc import Collection, Sequence
from typing import Any

from distill_jax.settings import command_line

# Sections and keys that do not; they may change whenever a run is continued or evaluated.
NOT_IDENTITY = ("sampling.", "evaluation.", "mesh.", "distributed.")
NOT_IDENTITY_KEYS = (
    *(f"train.{key}" for key in ("log_every", "save_every", "keep", "students")),
    # How it is computed: the result changes only by rounding (and dropout, with micro-batches).
    *(f"train.{key}" for key in ("accumulation", "remat", "attention", "loss_chunk")),
    "checkpoint_dir",
    # What else is written.
    *("tracking", "train.profile_first", "train.profile_last"),
    # What an answer costs, and how and where it is asked for.
    *(f"teacher.{key}" for key in ("base_url", "concurrency", "requests_per_minute")),
    *(f"teacher.{key}" for key in ("tokens_per_minute", "timeout_s", "retries", "cache_dir")),
    *(f"teacher.{key}" for key in ("price_input", "price_output")),
)
# A mechanism that is off is not part of the identity: {key: the value that switches it off}. So a
# run from before the mechanism existed is the same run.
OFF = {
    **{f"model.{student}.family": "gpt2" for student in ("decomposer", "planner", "solver")},
    "teacher.reasoning": "drop",
    "tokenizer.end_of_turn": "",
    "tokenizer.end_of_text": "",
    # As it was before there was the key, but for runs that were evaluated on another split.
    "data.test_split": "test",
    "data.fold": "",
    "data.annotated_only": False,
    "data.choice_letters": True,
    "loss.likelihood": 1.0,
    "loss.divergence": 0.0,
    "loss.teacher": "",
    "loss.teacher_reads": [],
    "loss.beta": 0.0,
    "loss.temperature": 1.0,
    "loss.policy": 0.0,
    "loss.clip": 0.2,
    "loss.uniform": 1.0,
    "loss.mixup": 0.0,
    "loss.mixed_likelihood": 0.0,
    "loss.mixed_divergence": 0.0,
    "loss.preference": 0.0,
    "loss.preference_beta": 0.1,
    "data.near": 0.8,
    "data.near_words": 2,
    "harvest.unwanted": [],
    "harvest.least_tokens": 0,
    "harvest.most_tokens": 0,
    "harvest.most_repetition": 1.0,
    "harvest.least_perplexity": 0.0,
    "harvest.most_perplexity": 0.0,
    "harvest.keep": "all",
}


def identity_of(config: Any, students: Collection[str], roles: Sequence[str]) -> dict[str, Any]:
    """The flat part of a ConfigDict that decides what `students` are, which play these roles.

    What other students are made of, what roles that the scheme lacks would read, and how a teacher
    would be asked if there is none: all that is left out.
    """
    flat = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in command_line.flatten(config).items()
        if not key.startswith(NOT_IDENTITY) and key not in NOT_IDENTITY_KEYS
    }
    found = {}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        student = name.partition(".")[0]
        if section in ("model", "optimizer", "lora") and student not in students:
            continue
        if section == "lora" and config.lora[student].rank == 0:  # off
            continue
        if section in ("students", "reads") and name not in roles:
            continue
        if section == "teacher" and not config.teacher.model and key not in OFF:
            continue
        if key.startswith("data.removal.") and not config.data.removal.role:
            continue
        if section == "rollouts" and not config.rollouts.rounds:
            continue
        if section == "easy" and not config.easy.files:
            continue
        if section == "preferences" and not config.loss.preference:
            continue
        if key in OFF and value == OFF[key]:
            continue
        found[key] = [role for role in value if role in roles] if section == "reads" else value
    return found
