"""From texts to dialogues: the sampler together with the tokenizer, the scheme and the calculator.

`sampling/` works with ids; here the same is done with text.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.dialogues import votes
from distill_jax.model import sharding
from distill_jax.model.network import NetworkConfig
from distill_jax.sampling import first_tokens, pick, slots
from distill_jax.sampling import turn_rules as turn_rules
from distill_jax.sampling.advance import Calculator
from distill_jax.sampling.dialogues import Dialogue, Request, name_hash
from distill_jax.sampling.schedule import Job
from distill_jax.settings import ranges
from distill_jax.text import calculator, messages
from distill_jax.text.rows import View
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.text.transcript import Scheme

ANSWER_SIGN = "####"
# In float32 logits over less than this overflow, over more their differences are lost.
TEMPERATURES = (1e-6, 1e6)
LEAST_TOP_P = 1e-6


@dataclasses.dataclass(frozen=True)
class Settings:
    """config.sampling; see configs/base.py for the keys."""

    temperature: float
    top_k: int
    top_p: float
    samples: int
    seed: int
    max_turns: int
    max_turn_tokens: int
    max_tokens: int
    slots: int
    dtype: str
    attention: str
    calculator: bool
    given: str
    given_steps: int
    vote: str = votes.MAJORITY
    vote_width: int = 2
    vote_buckets: int = 3

    @property
    def rule(self) -> votes.Rule:
        """Whose answer is that of several samples."""
        return votes.rule_of(self.vote, self.vote_width, self.vote_buckets)


def make_rules(
    scheme: Scheme,
    views: Sequence[View],
    models: Mapping[str, NetworkConfig],
    tokenizer: Tokenizer,
    settings: Settings,
) -> turn_rules.TurnRules:
    """The sampler's plan of a scheme: roles become indices, text becomes ids.

    A role that no other one follows cannot pass the turn: it ends the text instead.
    """
    roles = scheme.roles
    next_role = (*range(1, len(roles)), roles.index(scheme.ender))
    end_of_turn, end_of_text = messages.end_marks(scheme, tokenizer)
    return turn_rules.TurnRules(
        views=tuple(
            turn_rules.ViewRules(
                view.student, models[view.student], tuple(role in view.sees for role in roles)
            )
            for view in views
        ),
        role_views=tuple(
            tuple(i for i, view in enumerate(views) if role in view.writes)
            for role in range(len(roles))
        ),
        next_role=next_role,
        may_pass=tuple(other != role for role, other in enumerate(next_role)),
        may_end=tuple(role == scheme.ender for role in roles),
        end_of_turn=end_of_turn,
        end_of_text=end_of_text,
        vocab_size=tokenizer.size,
        max_turns=settings.max_turns,
        max_turn_tokens=settings.max_turn_tokens,
        max_tokens=settings.max_tokens,
        dtype=settings.dtype,
        kernel=settings.attention,
        calculator_role=roles.index("solver") if settings.calculator else -1,
        openings=messages.openings(scheme, tokenizer),
    )


class Sampler:
    """Students that are ready to answer; to be used under `jax.set_mesh`."""

    def __init__(
        self,
        rules: turn_rules.TurnRules,
        scheme: Scheme,
        tokenizer: Tokenizer,
        params: Mapping[str, Any],
        settings: Settings,
        seed: int,
    ):
        """`params`: {student: parameters}, float32 or as cast_params leaves them, laid out over the
        mesh; `seed`: the run's. Raises UserError if the kernel does not run here."""
        rules.check_kernel(jax.default_backend())
        rules = rules.on(jax.default_backend())
        self.rules, self.scheme, self.tokenizer = rules, scheme, tokenizer
        self.settings, self.seed = settings, drawing_seed(seed, settings.seed)
        self._params = {
            student: cast_params(rules.students[student], values, rules.dtype)
            for student, values in params.items()
        }
        self._calculator = calculator_table(rules, tokenizer) if settings.calculator else None

    def slot_count(self, dialogues: int, prompt: int) -> int:
        """How many slots to use for so many dialogues after prompts of at most `prompt` tokens."""
        memory, platform = slots.device_memory(), jax.default_backend()
        wanted = self.settings.slots
        return slots.choose_slots(self.rules, wanted, dialogues, prompt, memory, platform)

    def first_tokens(self, prompts: Sequence[Sequence[int]], count: int) -> np.ndarray:
        """int32 [prompts, count]; see sampling/first_tokens.py."""
        return first_tokens.first_tokens(self.rules, self._params, prompts, count)

    def job(self, requests: Sequence[Request], look: bool = False) -> Job:
        """The job for `generate.generate`; `look` as there."""
        settings = self.settings
        dialogues = sum(len(request.samples) for request in requests)
        longest = max((len(request.prompt) for request in requests), default=0)
        return Job(
            self.rules,
            self._params,
            requests,
            pick.draw(settings.temperature, settings.top_k, settings.top_p),
            seed=self.seed,
            slots=self.slot_count(dialogues, longest),
            calculator=self._calculator,
            resume=self._resume if settings.calculator or settings.given == "nothing" else None,
            look=look,
        )

    def _resume(self, request: int, dialogue: Dialogue) -> list[int]:
        """How a held row continues."""
        del request
        last = dialogue.turns[-1]
        text = self.tokenizer.decode(last.tokens)
        if not last.ended:  # the calculator asks
            value = calculator.completion(text)
            return self.tokenizer.encode([value])[0] if value else []
        if ANSWER_SIGN in text:
            return [self.rules.end_of_text]
        return list(empty_turn(self.rules))


def drawing_seed(run: int, sampling: int) -> int:
    """The seed for drawing: config.seed if config.sampling.seed is 0, else a uint32 from both."""
    return name_hash(f"{run}/{sampling}") if sampling else run


def empty_turn(rules: turn_rules.TurnRules) -> tuple[int, ...]:
    """A script: the decomposer writes nothing, the solver is free; then the host is asked."""
    return (rules.end_of_turn, turn_rules.FREE_TURN, turn_rules.HOLD)


def calculator_table(rules: turn_rules.TurnRules, tokenizer: Tokenizer) -> Calculator:
    """When to ask for a value, for ids up to the padded vocabulary."""
    table = calculator.build_table(tokenizer.token_texts())
    padding = ((0, 0), (0, rules.views[0].model.vocab_size - table.fires.shape[1]))
    return Calculator(
        jnp.pad(jnp.asarray(table.next_state), padding), jnp.pad(jnp.asarray(table.fires), padding)
    )


def cast_params(model: NetworkConfig, params: Any, dtype: str) -> Any:
    """Parameters in the dtype of the computation, so that a step reads no more than necessary.

    Those in `model.float32_parameters` stay float32. Parameters that already have `dtype` are
    returned unchanged.
    """
    if dtype == "float32" or any(leaf.dtype == dtype for leaf in jax.tree.leaves(params)):
        return params
    return _cast(model, params, dtype)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _cast(model: NetworkConfig, params: Any, dtype: str) -> Any:
    def cast(path, leaf):
        kept = model.float32_parameters.search(sharding.path_name(path))
        return leaf if kept else leaf.astype(dtype)

    return jax.tree_util.tree_map_with_path(cast, params)


def to_keep(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """config.sampling as an evaluation keeps it: without the keys of votes if the majority wins or
    nobody votes, as if there were no other rule."""
    votes_as_before = sampling["vote"] == votes.MAJORITY or sampling["samples"] == 1
    return {k: v for k, v in sampling.items() if not (votes_as_before and k.startswith("vote"))}


def mistakes(sampling: Any) -> list[str]:
    """What is wrong with config.sampling."""
    least = {"temperature": 0.0, "top_k": 0, "samples": 1, "seed": 0, "slots": 0, "given_steps": 0}
    least |= {
        "vote_width": 1,
        "vote_buckets": 1,
        "max_turns": 1,
        "max_turn_tokens": 1,
        "max_tokens": 1,
    }
    choices = {
        "dtype": ("float32", "bfloat16"),
        "attention": ("xla", "triton"),
        "vote": (votes.MAJORITY, votes.LENGTH),
        "given": ("", "plan", "subquestions", "shuffled", "nothing", "history"),
    }
    whole = ("top_k", "max_turns", "max_turn_tokens", "max_tokens")  # int32 on the device
    below: dict[str, float] = dict.fromkeys(whole, 1 << 31)
    found = ranges.mistakes("sampling", sampling, least=least, below=below, choices=choices)
    low, high = TEMPERATURES
    if sampling.temperature > 0.0 and not low <= sampling.temperature <= high:
        found.append(
            f"config.sampling.temperature={sampling.temperature}: 0 (the most likely token), or "
            f"from {low:g} to {high:g}"
        )
    if not LEAST_TOP_P <= sampling.top_p <= 1.0:
        found.append(
            f"config.sampling.top_p={sampling.top_p}: from {LEAST_TOP_P:g} to 1 (1 leaves it out)"
        )
    if sampling.given_steps and sampling.given != "subquestions":
        found.append("config.sampling.given_steps needs config.sampling.given=subquestions")
    if sampling.samples > 1 and sampling.temperature == 0.0:
        found.append(
            f"config.sampling.samples={sampling.samples} at temperature 0 would all be the "
            "same: set config.sampling.temperature, e.g. 0.7"
        )
    return found
