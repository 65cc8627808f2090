"""What made stories are to be like: their length, noise and names."""

import dataclasses
import random
from collections.abc import Sequence

Noise = tuple[tuple[int, str], ...]  # (place among the sentences, sentence)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """shortest, longest  length of a story: people, names, swaps or days' shifts
    noise              irrelevant sentences per story
    new_names          made-up names, which no student has met
    """

    shortest: int
    longest: int
    noise: int = 0
    new_names: bool = False

    def length(self, rng: random.Random) -> int:
        """A length, each equally often."""
        return rng.randint(self.shortest, self.longest)

    def noise_for(
        self, rng: random.Random, places: int, sentences: Sequence[str], name: str
    ) -> Noise:
        """`noise` different ones of the `sentences`, about `name`, at places from 0 to `places`."""
        chosen = rng.sample(sentences, min(self.noise, len(sentences)))
        return tuple((rng.randint(0, places), each.format(name=name)) for each in chosen)


def with_noise(sentences: Sequence[str], noise: Noise) -> list[str]:
    """The sentences, with those of `noise` before the one at their place.

    >>> with_noise(["a", "b"], ((1, "x"), (2, "y")))
    ['a', 'x', 'b', 'y']
    """
    told = list(sentences)
    for place, sentence in sorted(noise, key=lambda pair: -pair[0]):
        told.insert(place, sentence)
    return told
