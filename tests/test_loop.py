"""What the training loop says when the loss is not finite."""

import math
import types

import pytest

from distill_jax.errors import UserError
from distill_jax.training import loop


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([20], r"its last checkpoint is kept\): lower .*learning_rate, in a new --workdir$"),
        ([], r"it has no checkpoint yet\): lower .*, in a new --workdir if another student is"),
    ],
)
def test_a_loss_that_is_not_finite_comes_with_a_remedy_that_works(steps, said):
    waited = []
    kept = types.SimpleNamespace(wait=lambda: waited.append(1), steps=lambda: steps)
    loop._refuse_not_finite("solver", 30, 2.5, kept)
    with pytest.raises(UserError, match=rf"loss of student 'solver' is nan at step 30 \({said}"):
        loop._refuse_not_finite("solver", 30, math.nan, kept)
    assert waited  # a save that is not complete yet counts
