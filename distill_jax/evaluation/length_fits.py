"""How long a chain should be: accuracy by problem size and written steps, its fit and its optimum.

Source: "When More is Less: Understanding Chain-of-Thought Length" (https://arxiv.org/abs/2502.07266).
N steps solve a problem of size T with the accuracy

    A(N) = scale * ((1 - T / (N * capability)) * (1 - T / noise)) ** N

A step does T / N operations. The closer this number is to `capability`, the more often a step is
wrong; and every step is exposed to the noise of the problem again. So A rises and then falls with
N.
"""

import collections
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distill_jax.records import Prediction
from distill_jax.text.transcript import written_steps

LARGEST = 12.0  # logarithm of how far capability and noise may be from the least possible


class Cell(NamedTuple):
    """The dialogues of one size that have one length."""

    size: int
    steps: int  # written
    n: int
    correct: int


class Fit(NamedTuple):
    """Of `accuracy` to cells."""

    scale: float
    capability: float
    noise: float
    cells: int  # that it is a fit of
    left_out: int  # in which nothing is right, whose logarithm does not exist


def cells(predictions: Sequence[Prediction]) -> list[Cell]:
    """All dialogues, those of all samples, by size and by the steps that were written.

    The size of a problem is the whole number attributes["size"], or if it has none, that of its
    gold steps, attributes["steps"]: problems without either, and dialogues without any step, are
    left out.
    """
    found: dict[tuple[int, int], list[bool]] = collections.defaultdict(list)
    for prediction in predictions:
        attributes = prediction.attributes
        size = attributes.get("size", attributes.get("steps"))
        if not isinstance(size, int):
            continue
        for dialogue in prediction.samples or (prediction,):
            if steps := written_steps(dialogue.turns):
                found[size, steps].append(dialogue.correct)
    return [Cell(*key, len(right), sum(right)) for key, right in sorted(found.items())]


def best_steps(found: Sequence[Cell]) -> dict[int, Cell]:
    """{size: the cell with the highest accuracy; of equally accurate ones, the shortest}."""
    best: dict[int, Cell] = {}
    for cell in sorted(found):
        other = best.get(cell.size)
        if other is None or cell.correct * other.n > other.correct * cell.n:
            best[cell.size] = cell
    return best


def accuracy(size: float, steps: float, capability: float, noise: float) -> float:
    """A(N) for scale 1; 0 if a step would have `capability` operations or more."""
    right = (1 - size / (steps * capability)) * (1 - size / noise)
    return right**steps if steps * capability > size else 0.0


def optimal_steps(size: float, capability: float, noise: float) -> float:
    """The N at which A(N) is largest, not rounded: size * Z / (capability * (Z + 1)).

    Z is the branch -1 of Lambert's W at -(1 - size / noise) / e. Raises ValueError unless
    0 < size < noise and 0 < capability.
    """
    if not (0 < size < noise and capability > 0):
        raise ValueError(f"size {size} with capability {capability} and noise {noise}")
    from scipy.special import lambertw  # takes seconds to import

    z = float(lambertw(-(1 - size / noise) / math.e, -1).real)
    return size * z / (capability * (z + 1))


def fit(found: Sequence[Cell]) -> Fit | None:
    """Scale (at most 1), capability and noise by least squares on log accuracy.

    Cells are weighted by their number of right answers, because that is how precisely their
    logarithm is known if accuracies are low. None if there are fewer than four cells with right
    answers, or if no size has two lengths, because then the three numbers cannot be determined;
    and if capability or noise would be as large as can be, because accuracy does not depend on it.
    """
    used = [cell for cell in found if cell.correct]
    lengths = collections.Counter(cell.size for cell in used)
    if len(used) < 4 or max(lengths.values()) < 2:
        return None
    from scipy.optimize import least_squares  # takes seconds to import

    size, steps, n, correct = np.array(used, float).T
    weights = np.sqrt(correct)
    lowest = np.array([(size / steps).max(), size.max()])  # of capability and noise

    def model(parameters: np.ndarray) -> tuple[float, float, float]:
        capability, noise = lowest * (1 + np.exp(parameters[1:]))
        return math.exp(parameters[0]), capability, noise

    def residuals(parameters: np.ndarray) -> np.ndarray:
        scale, capability, noise = model(parameters)
        step = np.log1p(-size / (steps * capability)) + np.log1p(-size / noise)
        return weights * (math.log(scale) + steps * step - np.log(correct / n))

    # Far from the optimum the surface is flat, so the best of several starts is used.
    starts = [(-0.1, a, b) for a in (-2.0, 0.0, 2.0) for b in (-1.0, 1.0, 3.0)]
    bounds = ([-10.0, -LARGEST, -LARGEST], [0.0, LARGEST, LARGEST])
    found_fits = [least_squares(residuals, start, bounds=bounds) for start in starts]
    best = min(found_fits, key=lambda f: f.cost).x
    if best[1:].max() > LARGEST - 0.1:
        return None
    return Fit(*model(best), len(used), len(found) - len(used))
