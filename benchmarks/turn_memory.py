"""What a student knows between two of its turns: nothing, or all that it has read.

Shapes: B rows that still run, C slots of a cache, T tokens fed at once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import transformers


@dataclasses.dataclass
class Dialogue:
    """One row: `text` is the prompt and what was written so far; status "" while it runs."""

    text: list[int]
    prompt_length: int
    forced: list[int] | None = None
    turns: int = 0  # that have ended
    status: str = ""

    @property
    def written(self) -> list[int]:
        return self.text[self.prompt_length :]


class Reread:
    """Between turns a student remembers nothing: each turn it is fed all of the text."""

    def __init__(self, model: Any, rows: int):
        del rows
        self._device = model.device

    def inputs(self, dialogues: Sequence[Dialogue]) -> dict[str, Any]:
        """Arguments of `generate` for these rows' next turn."""
        return left_padded([dialogue.text for dialogue in dialogues], self._device)

    def written(self, lengths: Sequence[int], steps: int) -> None:
        """A call of `steps` steps has written `lengths[i]` tokens of row i that count."""

    def keep(self, rows: Sequence[int]) -> None:
        """All other rows have ended."""


class Carry:
    """A student keeps its cache: each turn it is fed what was written since it last spoke.

    Rows are ragged, so the cache has holes: the padding left of every block, and what `generate`
    feeds to rows that have ended their turn before others. The mask, bool-like int64 [B, C], hides
    them, and `generate` counts positions along it, so that holes take none.
    """

    def __init__(self, model: Any, rows: int):
        self._device = model.device
        self._cache = transformers.DynamicCache(config=model.config)
        self._mask = torch.zeros((rows, 0), dtype=torch.long, device=self._device)
        self._fed = [0] * rows  # tokens of each row's text that are in the cache

    def inputs(self, dialogues: Sequence[Dialogue]) -> dict[str, Any]:
        """Arguments of `generate` for these rows' next turn."""
        unread = [row.text[fed:] for row, fed in zip(dialogues, self._fed, strict=True)]
        block = left_padded(unread, self._device)
        self._mask = torch.cat([self._mask, block["attention_mask"]], dim=1)
        self._fed = [len(dialogue.text) for dialogue in dialogues]
        return {
            "input_ids": block["input_ids"],
            "attention_mask": self._mask,
            "past_key_values": self._cache,
        }

    def written(self, lengths: Sequence[int], steps: int) -> None:
        """A call of `steps` steps has written `lengths[i]` tokens of row i that count."""
        # The token of the last step was not fed any more.
        fed = [min(length, steps - 1) for length in lengths]
        seen = torch.arange(steps - 1) < torch.tensor(fed)[:, None]  # bool [B, steps - 1]
        self._mask = torch.cat([self._mask, seen.long().to(self._device)], dim=1)
        self._fed = [old + new for old, new in zip(self._fed, fed, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """All other rows have ended."""
        indices = torch.tensor(rows, device=self._device)
        self._cache.batch_select_indices(indices)
        self._mask = self._mask[indices]
        self._fed = [self._fed[row] for row in rows]


def left_padded(texts: Sequence[list[int]], device: Any) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask, int64 [B, T]; `generate` counts positions along the mask."""
    length = max(map(len, texts))
    ids = torch.tensor([[0] * (length - len(text)) + text for text in texts])
    mask = torch.tensor([[0] * (length - len(text)) + [1] * len(text) for text in texts])
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
