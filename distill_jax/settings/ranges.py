"""What a single value of a config may be. The tables stand beside the constructors that take the
values; here they are applied."""

import math
from collections.abc import Collection, Mapping
from typing import Any

NOTHING: Mapping[str, Any] = {}


def mistakes(
    section: str,
    values: Mapping[str, Any],
    *,
    least: Mapping[str, float] = NOTHING,
    below: Mapping[str, float] = NOTHING,
    choices: Mapping[str, Collection[str]] = NOTHING,
) -> list[str]:
    """What is wrong with the values of config.<section> ("" = the top level), a line each.

    least    {key: the smallest value that makes sense}
    below    {key: what a value must stay below}
    choices  {key: the values that there are}

    Any number must be finite.

    >>> mistakes("train", {"steps": -1}, least={"steps": 0})
    ['config.train.steps=-1: must be at least 0']
    >>> mistakes("train", {"dtype": "int8"}, choices={"dtype": ("float32", "bfloat16")})
    ["config.train.dtype='int8': choose float32, bfloat16"]
    """
    prefix = f"config.{section}." if section else "config."
    found = []
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            found.append(f"{prefix}{key}={value}: must be a finite number")
        elif key in least and value < least[key]:
            found.append(f"{prefix}{key}={value}: must be at least {least[key]}")
        elif key in below and value >= below[key]:
            found.append(f"{prefix}{key}={value}: must be below {below[key]}")
        elif key in choices and value not in choices[key]:
            listed = ", ".join(choice or '""' for choice in choices[key])
            found.append(f"{prefix}{key}={value!r}: choose {listed}")
    return found
