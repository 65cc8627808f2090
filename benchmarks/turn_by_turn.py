"""Two students take turns with transformers: a Python loop over turns around `model.generate`.

What a researcher would write: batches of prompts of similar length, left-padded; one `generate` per
turn, for all dialogues of a batch that still run; those that have ended leave the batch. The rules
are those of `distill_jax.sampling.decode`: same statuses, and greedily the same tokens.

Shapes: B rows that still run, V vocabulary (padded).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers

from benchmarks.sample_job import ENDER, Caps
from benchmarks.turn_memory import Carry, Dialogue, Reread

Model = Any  # a causal language model of transformers
VARIANTS = {"reread": Reread, "carry": Carry}


class Permitted(transformers.LogitsProcessor):
    """Takes from a role what it may not write: padding of the vocabulary, marks not its own."""

    def __init__(self, caps: Caps, role: int):
        self._vocab_size = caps.vocab_size
        self._end_of_text = None if role == ENDER else caps.end_of_text

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores float32 [B, V], changed in place: `generate` made them a copy."""
        scores[:, self._vocab_size :] = -torch.inf
        if self._end_of_text is not None:
            scores[:, self._end_of_text] = -torch.inf
        return scores


class Forced(transformers.LogitsProcessor):
    """Makes the given tokens the only ones that can be chosen; the students compute all the same.

    tokens  int64 [steps, B], one row per step of the call
    """

    def __init__(self, tokens: torch.Tensor):
        self._tokens = tokens
        self._rows = torch.arange(tokens.shape[1], device=tokens.device)
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """scores float32 [B, V], one entry per row changed in place."""
        # Not infinity: with it the probabilities of sampling would be NaN.
        scores[self._rows, self._tokens[self._step]] = 1e9
        self._step += 1
        return scores


def run(
    models: Sequence[Model],
    prompts: Sequence[list[int]],
    caps: Caps,
    *,
    variant: str,
    batch_size: int,
    temperature: float = 0.0,
    forced: Sequence[list[int]] | None = None,
) -> list[tuple[list[int], str]]:
    """(what was written, end marks included; status) for every prompt, in their order.

    models       one model per role, in evaluation mode
    variant      "reread": every turn is fed the whole text, no cache outlives a turn;
                 "carry": every student keeps its cache, and is fed the other's turn
    temperature  0 is greedy; else tokens are drawn with PyTorch's global generator
    forced       per prompt all that is to be written, instead of what the students would
    """
    context = min(model.config.max_position_embeddings for model in models)
    dialogues = []
    for number, prompt in enumerate(prompts):
        dialogue = Dialogue(list(prompt), len(prompt), forced[number] if forced else None)
        dialogue.status = "prompt_too_long" if len(prompt) > context else ""
        dialogues.append(dialogue)
    # Prompts of similar length need little padding.
    waiting = sorted((d for d in dialogues if not d.status), key=lambda d: d.prompt_length)
    with torch.inference_mode():
        for start in range(0, len(waiting), batch_size):
            batch = waiting[start : start + batch_size]
            _run_batch(models, batch, caps, context, variant, temperature)
    return [(dialogue.written, dialogue.status) for dialogue in dialogues]


def _run_batch(models, rows, caps, context, variant, temperature) -> None:
    """Take turns until every dialogue of `rows` has a status."""
    memories = [VARIANTS[variant](model, len(rows)) for model in models]
    permitted = [Permitted(caps, role) for role in range(len(models))]
    for turn in range(caps.max_turns):
        role = turn % len(models)
        _write_turn(models[role], memories[role], permitted[role], rows, caps, context, temperature)
        running = [number for number, row in enumerate(rows) if not row.status]
        if not running:
            return
        if len(running) < len(rows):
            rows = [rows[number] for number in running]
            for memory in memories:
                memory.keep(running)


def _write_turn(model, memory, permitted, rows, caps, context, temperature) -> None:
    """One role writes its turn in every row."""
    budgets = [_budget(row, caps, context) for row in rows]
    processors = transformers.LogitsProcessorList([permitted])
    if rows[0].forced is not None:
        processors.append(Forced(_forced_turn(rows, max(budgets), caps).to(model.device)))
    inputs = memory.inputs(rows)
    sampling = {"do_sample": False}
    if temperature:
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0}
    longest = max(len(row.text) for row in rows) + max(budgets)
    with _positions_within(model, longest):
        output = model.generate(
            **inputs,
            max_new_tokens=max(budgets),
            eos_token_id=[caps.end_of_turn, caps.end_of_text],
            pad_token_id=caps.end_of_text,
            logits_processor=processors,
            **sampling,
        )
    new = output[:, inputs["input_ids"].shape[1] :].tolist()
    turns = [_cut(line, budget, caps) for line, budget in zip(new, budgets, strict=True)]
    memory.written([len(tokens) for tokens in turns], len(new[0]))
    for row, tokens in zip(rows, turns, strict=True):
        _advance(row, tokens, caps, context)


def _budget(row: Dialogue, caps: Caps, context: int) -> int:
    """Tokens that this row may still write in this turn, at least 1 while it runs."""
    # What fills the context can still be answered by one token.
    room = context + 1 - len(row.text)
    return min(caps.max_turn_tokens, caps.max_tokens - len(row.written), room)


def _cut(tokens: list[int], budget: int, caps: Caps) -> list[int]:
    """The row's turn out of what the call returned: up to its end mark, no more than it may."""
    for number, token in enumerate(tokens[:budget]):
        if token in (caps.end_of_turn, caps.end_of_text):
            return tokens[: number + 1]
    return tokens[:budget]


def _advance(row: Dialogue, tokens: list[int], caps: Caps, context: int) -> None:
    """Add a turn to the row and find out whether the dialogue has ended; see `decode._advance`."""
    row.text += tokens
    ended = tokens[-1] == caps.end_of_text
    passed = tokens[-1] == caps.end_of_turn
    row.turns += ended or passed
    if ended:
        row.status = "finished"
    elif passed and row.turns >= caps.max_turns:
        row.status = "turn_cap"
    elif len(row.written) >= caps.max_tokens or (
        not passed and len(tokens) >= caps.max_turn_tokens
    ):
        row.status = "token_cap"
    elif len(row.text) > context:
        row.status = "context"


def _forced_turn(rows: Sequence[Dialogue], steps: int, caps: Caps) -> torch.Tensor:
    """int64 [steps, B]: the token to write next in each row; end of turn if there is none."""
    tokens = torch.full((len(rows), steps), caps.end_of_turn)
    for number, row in enumerate(rows):
        done = len(row.written)
        ordered = torch.tensor(row.forced[done : done + steps])
        tokens[number, : len(ordered)] = ordered
    return tokens.T.contiguous()


@contextlib.contextmanager
def _positions_within(model: Model, longest: int) -> Iterator[None]:
    """Keep positions inside the context if `longest`, in tokens, would exceed it.

    `generate` goes on counting in rows that have ended while others still write; what it computes
    there is thrown away, but the lookup of a position that does not exist is an error.
    """
    last = model.config.max_position_embeddings - 1
    if longest <= last:
        yield
        return

    def clamp(module: Any, arguments: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (arguments[0].clamp(max=last),)

    hook = model.transformer.wpe.register_forward_pre_hook(clamp)
    try:
        yield
    finally:
        hook.remove()
