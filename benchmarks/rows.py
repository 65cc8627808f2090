"""Rows of GSM8K, or random tokens of the same lengths, as batches for both sides."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from distill_jax.model import flops
from distill_jax.tasks import gsm8k
from distill_jax.text.rows import NO_LOSS, Row, View, encode_rows
from distill_jax.text.tokenizer import load_tokenizer
from distill_jax.text.transcript import SCHEMES
from distill_jax.training.batches import StudentRows, assemble, row_shape
from distill_jax.training.packing import first_fit


@dataclasses.dataclass(frozen=True)
class Batch:
    """Arrays for one side, and counts of their contents.

    tokens       non-padding tokens (in a row of n + 1 tokens, the n that predict one)
    pairs        (query, key) pairs of these within their own rows
    loss_tokens  predicted tokens with a loss
    fed          tokens including the padding
    """

    arrays: dict[str, np.ndarray]
    tokens: int
    pairs: int
    loss_tokens: int
    fed: int


class Rows:
    """An endless sequence of training rows in a random order."""

    def __init__(self, rows: Sequence[Row], vocab_size: int):
        """`vocab_size` counts ids, without padding."""
        order = np.random.default_rng(0).permutation(len(rows))
        self.rows = [rows[i] for i in order]
        self.vocab_size = vocab_size
        longest = max(len(row.tokens) for row in rows)
        self._source = StudentRows(self.rows, "benchmark", longest, max_dropped_share=0.0)

    @property
    def longest(self) -> int:
        return self._source.longest

    @property
    def mean_length(self) -> float:
        return self._source.tokens / len(self._source)

    def take(self, first: int, count: int) -> list[int]:
        """Numbers of rows; the first follows after the last."""
        return [number % len(self.rows) for number in range(first, first + count)]

    def padded(self, members: Sequence[int], length: int) -> Batch:
        """Ours: one row each, padded to `length`."""
        shape = row_shape(self._source, length, packed=False)
        return self._ours([[number] for number in members], shape)

    def packed(self, bins: Sequence[Sequence[int]], length: int) -> Batch:
        """Ours: one bin each, padded to `length`."""
        return self._ours(bins, row_shape(self._source, length, packed=True))

    def torch(self, members: Sequence[int], length: int = 0) -> Batch:
        """PyTorch's: one row each, padded to `length`, or if it is 0 to the longest of them."""
        rows = [self.rows[number] for number in members]
        length = length or max(len(row.tokens) for row in rows)
        ids, mask = (np.zeros((len(rows), length), np.int64) for _ in range(2))
        labels = np.full((len(rows), length), -100, np.int64)
        for number, row in enumerate(rows):
            count, tokens = len(row.tokens), np.array(row.tokens)
            ids[number, :count] = tokens
            mask[number, :count] = 1
            labels[number, :count] = np.where(np.array(row.writers) != NO_LOSS, tokens, -100)
        arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return self._batch(arrays, members, ids.size)

    def bins(self, length: int) -> list[list[int]]:
        """All rows packed once, first-fit, in another random order."""
        bins = first_fit([len(row.tokens) - 1 for row in self.rows], length)
        order = np.random.default_rng(1).permutation(len(bins))
        return [bins[i] for i in order]

    def _ours(self, bins, shape) -> Batch:
        made = [assemble(self._source, bin_, shape) for bin_ in bins]
        arrays = {name: np.stack([row[name] for row in made]) for name in made[0]}
        return self._batch(arrays, [n for bin_ in bins for n in bin_], arrays["inputs"].size)

    def _batch(self, arrays, members: Iterable[int], fed: int) -> Batch:
        lengths = [self._source.length(number) for number in members]
        loss_tokens = sum(len(self._source.losses(number)[0]) for number in members)
        pairs = sum(map(flops.causal_pairs, lengths))
        return Batch(arrays, sum(lengths), pairs, loss_tokens, fed)


def torch_of_packed(batch: Batch) -> Batch:
    """PyTorch's batch of the same packed rows and labels; its rows see the rows before them."""
    inputs = batch.arrays["inputs"]
    labels = np.full(inputs.shape, -100, np.int64)
    rows, slots = np.nonzero(batch.arrays["writers"] != NO_LOSS)
    # transformers compares what follows position p with label p + 1.
    positions = batch.arrays["loss_positions"][rows, slots] + 1
    fits = positions < inputs.shape[1]
    targets = batch.arrays["targets"][rows, slots]
    labels[rows[fits], positions[fits]] = targets[fits]
    arrays = {"input_ids": inputs.astype(np.int64), "labels": labels}
    return dataclasses.replace(batch, arrays=arrays)


def without_segments(batch: Batch) -> Batch:
    """The same rows without segments, each as one text."""
    left_out = ("segments", "positions")
    arrays = {name: array for name, array in batch.arrays.items() if name not in left_out}
    return dataclasses.replace(batch, arrays=arrays)


def gsm8k_rows(data: str) -> Rows:
    """The solver's rows of GSM8K's Socratic training annotations, in GPT-2's tokens."""
    directory = pathlib.Path(data)
    annotations = gsm8k.load_annotations("train", directory=str(directory / "gsm8k"))
    tokenizer = load_tokenizer(str(directory / "gpt2_tokenizer"))
    scheme = SCHEMES["socratic"]
    view = View("solver", frozenset(scheme.roles), (scheme.roles.index("solver"),))
    rows: Any = encode_rows(annotations, scheme, [view], tokenizer)["solver"]
    return Rows(rows, tokenizer.size)


def random_rows(count: int = 8000, vocab_size: int = 50258) -> Rows:
    """Random tokens in rows as long as GSM8K's: log-normal, half of each row is learned."""
    generator = np.random.default_rng(0)
    lengths = np.exp(generator.normal(5.18, 0.36, count)).clip(50, 540).astype(int)
    rows = []
    for length in lengths:
        tokens = generator.integers(0, vocab_size, length + 1).tolist()
        unlearned = length + 1 - length // 2
        rows.append(Row(tokens, [NO_LOSS] * unlearned + [0] * (length // 2)))
    return Rows(rows, vocab_size)
