"""Drawing tokens: temperature, top-k, top-p and the sampled frequencies, against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.ask import question
from distill_jax.dialogues.sampler import LEAST_TOP_P, TEMPERATURES, mistakes
from distill_jax.sampling import pick
from distill_jax.settings import command_line

WORDS = 256


def rows(seed, count=4):
    logits = np.random.default_rng(seed).normal(0, 2, (count, WORDS)).astype(np.float32)
    logits[:, 200:] = -np.inf  # what a role may not write
    return logits


def kept_by_sorting(logits, top_k, top_p):
    """bool [V]: what top-k and then top-p leave of one row, by sorting, in float64."""
    order = np.argsort(-logits, kind="stable")
    kept = order[: top_k or WORDS]
    kept = kept[np.isfinite(logits[kept])]
    weights = np.exp(logits[kept].astype(np.float64) - logits.max())
    before = np.concatenate([[0.0], np.cumsum(weights / weights.sum())[:-1]])
    if top_p < 1.0:
        kept = kept[before < top_p]
    return np.isin(np.arange(WORDS), kept)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    top_k=st.sampled_from([0, 1, 2, 7, 40, 199, 200, 300]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 0.11, 0.003]),
)
def test_narrow_equals_sorting(seed, top_k, top_p):
    logits = rows(seed)
    got = np.isfinite(jax.jit(pick.narrow)(logits, jnp.int32(top_k), jnp.float32(top_p)))
    for row, kept in zip(logits, got, strict=True):
        assert kept.tolist() == kept_by_sorting(row, top_k, top_p).tolist()


def test_equally_likely_tokens_stay_together():
    logits = np.full((1, WORDS), -np.inf, np.float32)
    logits[0, :6] = [1.0, 3.0, 2.0, 2.0, 2.0, -1.0]
    kept = np.isfinite(pick.narrow(logits, jnp.int32(2), jnp.float32(1.0)))[0]
    assert np.flatnonzero(kept).tolist() == [1, 2, 3, 4]


def test_greedy_takes_the_first_of_the_largest():
    logits = rows(0)
    logits[1, [17, 90]] = 50.0
    assert pick.most_likely(logits).tolist() == logits.argmax(1).tolist()
    assert pick.most_likely(np.full((2, WORDS), -1.0, np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_probabilities(temperature):
    """Chi-square over 20,000 draws of one row, tokens of small expectation put together."""
    logits = rows(3, 1)
    count = 20_000
    keys = np.stack([np.zeros(count), np.arange(count)], axis=1).astype(np.uint32)
    drawn = jax.jit(pick.pick)(
        jnp.broadcast_to(logits, (count, WORDS)), keys, np.zeros(count, np.int32),
        pick.draw(temperature),
    )  # fmt: skip
    weights = np.exp(logits[0].astype(np.float64) / temperature)
    expected = count * weights / weights.sum()
    observed = np.bincount(np.asarray(drawn), minlength=WORDS)
    assert observed[~np.isfinite(logits[0])].sum() == 0
    common = expected >= 5
    seen = np.append(observed[common], observed[~common].sum())
    due = np.append(expected[common], expected[~common].sum())
    statistic = ((seen - due) ** 2 / due).sum()
    from scipy import stats

    assert stats.chi2.sf(statistic, len(seen) - 1) > 1e-4


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10_000), uniform=st.floats(0, 1, exclude_max=True, width=32))
def test_sample_is_the_inverse_of_the_cumulated_probabilities(seed, uniform):
    logits = rows(seed, 1)
    token = int(pick.sample(logits, np.array([uniform], np.float32))[0])
    weights = np.exp(logits[0].astype(np.float64))
    edges = np.concatenate([[0.0], np.cumsum(weights) / weights.sum()])
    assert np.isfinite(logits[0, token])
    # The number lies in the token's own piece, or within float32's rounding of its edge.
    assert edges[token] - 2e-6 <= uniform <= edges[token + 1] + 2e-6


def test_the_largest_number_below_one_draws_an_allowed_token():
    logits = rows(5)
    logits[0, 1:] = -np.inf
    last = np.full(4, np.nextafter(np.float32(1), np.float32(0)))
    tokens = np.asarray(pick.sample(logits, last))
    assert tokens[0] == 0 and np.isfinite(logits[np.arange(4), tokens]).all()


def test_a_draw_depends_on_key_and_count_alone():
    logits = rows(1)
    keys = np.arange(8, dtype=np.uint32).reshape(4, 2)
    how = pick.draw(1.5, 50, 0.9)
    together = pick.pick(logits, keys, np.arange(4), how)
    alone = [
        pick.pick(logits[i : i + 1], keys[i : i + 1], np.arange(4)[i : i + 1], how)[0]
        for i in range(4)
    ]
    assert together.tolist() == [int(token) for token in alone]
    assert together.tolist() != pick.pick(logits, keys, np.arange(4) + 1, how).tolist()


def test_every_value_that_is_allowed_draws_what_may_be_drawn():
    logits = rows(3) * 1e3  # more than any student's
    keys, counts = np.zeros((4, 2), np.uint32), np.zeros(4, np.int32)
    for temperature in (*TEMPERATURES, 1.0):
        for top_p in (LEAST_TOP_P, 0.5, 1.0):
            how = pick.draw(temperature, top_p=top_p)
            drawn = np.asarray(pick.pick(logits, keys, counts, how))
            assert (drawn < 200).all()
            if temperature == TEMPERATURES[0] or top_p == LEAST_TOP_P:
                assert (drawn == logits.argmax(-1)).all()


def test_programs_may_write_next_to_nothing_for_the_most_likely_token():
    assert question.drawing({"temperature": 1e-8, "top_p": 1e-9}) == {
        "temperature": 0.0, "top_p": LEAST_TOP_P,
    }  # fmt: skip
    assert question.drawing({"temperature": 0.7}) == {"temperature": 0.7}
    assert question.drawing({}) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 1e-38), ("temperature", 1e-45), ("temperature", 1e38),
        ("temperature", 1e300), ("top_p", 1e-39), ("top_p", 0.0), ("top_k", 1 << 31),
    ],
)  # fmt: skip
def test_values_that_float32_cannot_hold_are_refused(key, value):
    config = command_line.load_config("base.py").sampling
    assert mistakes(config) == []
    config[key] = value
    [found] = mistakes(config)
    assert found.startswith(f"config.sampling.{key}={value}: ")
