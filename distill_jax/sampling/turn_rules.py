"""Everything static about dialogues: who writes after whom, who sees what, and the limits.

R roles, V vocabulary (padded). A *view* is one student that sees the turns of certain
roles (text/rows.py).
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from distill_jax.model import cache_attention, network
from distill_jax.model.network import NetworkConfig

# Status of a slot. HELD: the host is asked for the next entries of its script. EMPTY: no row.
RUNNING, FINISHED, TURN_CAP, TOKEN_CAP, CONTEXT, HELD, EMPTY = range(7)
STATUS_NAMES = {
    FINISHED: "finished",
    TURN_CAP: "turn_cap",
    TOKEN_CAP: "token_cap",
    CONTEXT: "context",
}

# Entries of a script besides token ids. Token ids are written instead of the role's own tokens.
FREE = -1  # the role writes one token itself
FREE_TURN = -2  # the role writes itself until its turn ends
HOLD = -3  # the host is asked before anything is written

# How the members of an ensemble are one: the mean of their probabilities of a token, or the
# renormalised exponential of the mean of their log-probabilities.
ARITHMETIC, GEOMETRIC = "arithmetic", "geometric"
MEANS = (ARITHMETIC, GEOMETRIC)

BLOCK = cache_attention.BLOCK  # lengths of caches are multiples of it


@dataclasses.dataclass(frozen=True)
class ViewRules:
    """One view: a student (key of `params`), its size, and which roles' turns it sees."""

    student: str
    model: NetworkConfig
    sees: tuple[bool, ...]  # [R]

    def cache_len(self, window: int) -> int:
        """Slots of a row's cache in a window: never more than the context."""
        return min(window, -(-self.model.context // BLOCK) * BLOCK)


@dataclasses.dataclass(frozen=True)
class TurnRules:
    """Hashable: one compilation per plan, number of slots, and length of cache."""

    views: tuple[ViewRules, ...]
    # [R] the views in which a role writes: one, or one of each member of an ensemble.
    role_views: tuple[tuple[int, ...], ...]
    next_role: tuple[int, ...]  # [R] whose turn follows; role 0 begins
    may_pass: tuple[bool, ...]  # [R] may write end_of_turn
    may_end: tuple[bool, ...]  # [R] may write end_of_text
    end_of_turn: int
    end_of_text: int
    vocab_size: int  # ids from here on are padding
    max_turns: int  # of all roles together, given ones included
    max_turn_tokens: int  # that a role writes itself; tokens of a script do not count
    max_tokens: int  # of a dialogue, including given ones: the size of its buffers
    dtype: str = "float32"  # of activations
    # Caches are float32 whatever the dtype, as a CPU wants it: to write one place of a bfloat16
    # cache, XLA makes all of it float32 and bfloat16 again there (docs/log.md).
    float32_caches: bool = False
    kernel: str = "xla"  # of attention to the caches; model/cache_attention.py
    calculator_role: int = -1  # whose calculations are filled in; -1 = nobody's
    # [R] what a turn of the role begins with, in a format with headers. It is written for the role,
    # before its script, and counts only towards max_tokens. () = no role has a header.
    openings: tuple[tuple[int, ...], ...] = ()
    mean: str = ARITHMETIC  # of the members' probabilities

    @property
    def cache_dtype(self) -> str:
        """The dtype of keys and values."""
        return "float32" if self.float32_caches else self.dtype

    def on(self, platform: str) -> "TurnRules":
        """These rules for "cpu", "gpu" or "tpu"."""
        return dataclasses.replace(self, float32_caches=platform == "cpu")

    @property
    def context(self) -> int:
        """The shortest context of the students: a longer prompt cannot be answered."""
        return min(view.model.context for view in self.views)

    def opening(self, role: int) -> tuple[int, ...]:
        """The header of a role's turns; () if it has none."""
        return self.openings[role] if self.openings else ()

    @property
    def script_len(self) -> int:
        """How many entries a script can have; each except FREE_TURN and HOLD writes a token."""
        return self.max_tokens + 2 * self.max_turns + 2

    @property
    def students(self) -> dict[str, NetworkConfig]:
        """The students by name, in the order of their first view."""
        return {view.student: view.model for view in self.views}

    def check_kernel(self, platform: str) -> None:
        """Raise UserError if the kernel does not run on the platform ("cpu", "gpu" or "tpu") like
        this."""
        for view in self.views:
            cache_attention.check_kernel(self.kernel, platform, self.dtype, view.model.head_dim)

    def cache_bytes(self, window: int) -> int:
        """Bytes of one row's caches, over all views."""
        return sum(
            network.cache_bytes(view.model, view.cache_len(window), self.cache_dtype)
            for view in self.views
        )


def together(members: Sequence[TurnRules], mean: str) -> TurnRules:
    """The rules of an ensemble, whose members differ in their views alone; `mean` is one of MEANS.

    Students of several members need names of their own.
    """
    first, views, role_views = members[0], [], [[] for _ in members[0].role_views]
    for member in members:
        for mine, theirs in zip(role_views, member.role_views, strict=True):
            mine += [len(views) + view for view in theirs]
        views += member.views
    return dataclasses.replace(
        first, views=tuple(views), role_views=tuple(map(tuple, role_views)), mean=mean
    )


def allowed_tokens(rules: TurnRules) -> jax.Array:
    """bool [R, V]: what each role may write: never padding, and only the end marks that it may
    use."""
    size = rules.views[0].model.vocab_size
    allowed = jnp.broadcast_to(jnp.arange(size) < rules.vocab_size, (len(rules.role_views), size))
    allowed = allowed.at[:, rules.end_of_turn].set(jnp.array(rules.may_pass))
    return allowed.at[:, rules.end_of_text].set(jnp.array(rules.may_end))
