"""How many characters apart two texts are."""

import collections


def edit_distance(left: str, right: str) -> int:
    """The fewest insertions, deletions and substitutions of characters (Levenshtein).

    One column of the table at a time, as bits of two integers: Hyyrö 2003, A bit-vector algorithm
    for computing Levenshtein and Damerau edit distances (after Myers 1999).

    >>> edit_distance("kitten", "sitting")
    3
    """
    if not left:
        return len(right)
    places: dict[str, int] = collections.defaultdict(int)
    for place, character in enumerate(left):
        places[character] |= 1 << place
    every, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    up, down, distance = every, 0, len(left)  # where a column rises, and falls, by one
    for character in right:
        equal = places.get(character, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        rises, falls = (down | ~(diagonal | up)) & every, up & diagonal
        distance += bool(rises & last) - bool(falls & last)
        rises, falls = (rises << 1) | 1, falls << 1
        up, down = (falls | ~(diagonal | rises)) & every, rises & diagonal & every
    return distance
