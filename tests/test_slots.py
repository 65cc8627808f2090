"""How many slots, how long caches, how prompts are padded."""

import dataclasses

import jax
import pytest
from dialogue_rules import PLANS
from tiny_student import make_mesh

from distill_jax.sampling import slots
from distill_jax.sampling.state import empty_state

PLAN = PLANS["both_read_both"]  # a context of 96 tokens: caches of 96 rounded up to 128
# Keys and values, float32: 1 layer of width 32, 2 layers of width 48.
ROW = 2 * 4 * 128 * (32 + 2 * 48)


def test_bucket_lengths():
    assert slots.bucket_lengths(20) == (20,)
    assert slots.bucket_lengths(96) == (32, 48, 64, 96)
    assert slots.bucket_lengths(1024) == (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
    assert slots.bucket_lengths(100)[-2:] == (96, 100)


def test_windows_end_where_the_longest_context_does():
    assert slots.window_lengths(PLAN) == (64, 128)
    assert slots.window_lengths(PLANS["long"]) == (64, 128, 192, 256)
    assert [slots.window_for(PLAN, n) for n in (1, 64, 65, 500)] == [64, 64, 128, 128]
    # The shorter context of the two needs no more than its own.
    assert [view.cache_len(256) for view in PLANS["long"].views] == [256, 256]
    assert [view.cache_len(256) for view in PLANS["short_context"].views] == [64, 128]


def test_a_row_of_caches_is_what_its_arrays_hold():
    assert PLAN.cache_bytes(128) == ROW
    halves = dataclasses.replace(PLAN, dtype="bfloat16")
    assert halves.on("gpu").cache_bytes(128) == ROW // 2
    # A CPU has them in float32.
    on_cpu = halves.on("cpu")
    assert on_cpu.cache_bytes(128) == ROW
    with jax.set_mesh(make_mesh()):
        state = jax.eval_shape(lambda: empty_state(on_cpu, 1, 128))
    assert sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state.caches)) == ROW


@pytest.mark.parametrize(
    ("wanted", "dialogues", "memory", "platform", "expected"),
    [
        (0, 1000, None, "cpu", 64),  # the most that is useful
        (0, 1000, None, "gpu", 512),
        (0, 20, None, "gpu", 16),  # no more than there is to do, in eights
        (0, 3, None, "gpu", 3),
        (0, 1000, 40 * ROW, "cpu", 16),  # half of the memory holds 20
        (0, 1000, 50 * ROW, "tpu", 16),  # two fifths 20
        (0, 1000, ROW, "cpu", 1),  # it will not fit, and the error of that says more
        (100, 3, ROW, "cpu", 100),  # what the user says
    ],
)
def test_slots_are_useful_and_fit(wanted, dialogues, memory, platform, expected):
    with jax.set_mesh(make_mesh()):
        assert slots.choose_slots(PLAN, wanted, dialogues, 96, memory, platform) == expected


def test_a_context_that_no_dialogue_fills_takes_no_slots_away():
    with jax.set_mesh(make_mesh()):
        longer = [
            dataclasses.replace(view, model=dataclasses.replace(view.model, context=4096))
            for view in PLAN.views
        ]
        long = dataclasses.replace(PLAN, views=tuple(longer))
        assert PLAN.max_tokens == 40 and slots.longest_window(long, 20) == 128
        assert slots.choose_slots(long, 0, 1000, 20, 40 * ROW, "cpu") == 16
        assert slots.choose_slots(long, 0, 1000, 4000, 40 * ROW, "cpu") == 1


def test_slots_are_spread_over_devices():
    with jax.set_mesh(make_mesh((4, 2, 1))):
        assert slots.choose_slots(PLAN, 3, 99, 96, None, "cpu") == 8
        assert slots.choose_slots(PLAN, 0, 9999, 96, None, "cpu") == 512
        assert slots.choose_slots(PLAN, 0, 9999, 96, 2 * ROW, "cpu") == 8  # one each
        assert slots.prefill_rows(64) == 8 and slots.prefill_rows(8) == 8
        assert slots.prefill_rows(100) == 8 and slots.prefill_rows(2048) == 256
    with jax.set_mesh(make_mesh((1, 1, 2))):  # heads split: a device holds half of each row
        assert slots.choose_slots(PLAN, 0, 999, 96, 20 * ROW, "cpu") == 16
        assert slots.prefill_rows(64) == 8 and slots.prefill_rows(7) == 1
