"""Prompts that wait for slots: dealt to the parts of a mesh, each dialogue once."""

import collections
import functools
import random

import jax
import pytest
from dialogue_rules import PLANS, all_params
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_student import make_mesh

from distill_jax.sampling.dialogues import Request
from distill_jax.sampling.prompt_groups import MOST_GROUPS, PromptGroups

PLAN = PLANS["both_read_both"]
# Prompts of two bucket lengths, and one that fits no context.
REQUESTS = st.lists(
    st.tuples(st.sampled_from([1, 30, 40, 48, 900]), st.integers(0, 5)), max_size=40
)


@functools.cache
def params():
    return jax.device_get(all_params(PLAN))  # of no mesh


def wanted(*shapes):
    """Requests of (tokens of the prompt, samples)."""
    return [Request(str(n), [1] * size, tuple(range(k))) for n, (size, k) in enumerate(shapes)]


def take(groups, part, most):
    """Up to `most` dialogues that wait for a part, the oldest group first."""
    taken = []
    for group in groups.groups:
        while group.waiting[part] and len(taken) < most:
            taken.append(group.waiting[part].popleft())
    return taken


@settings(max_examples=20, deadline=None)
@given(REQUESTS, st.sampled_from([(1, 1, 1), (2, 2, 1)]), st.randoms())
def test_every_dialogue_waits_once_whatever_the_order_of_the_parts(shapes, mesh, chance):
    """Parts come for more as they please; one that finds nothing asks to read on."""
    requests, seen = wanted(*shapes), collections.Counter()
    with jax.set_mesh(make_mesh(mesh)):
        groups, parts = PromptGroups(PLAN, params(), requests, 32), mesh[0] * mesh[1]
        while groups.more:
            part = chance.randrange(parts)
            found = take(groups, part, chance.randrange(1, 5))
            for place, row in found:
                assert 0 <= place < 4 // parts
                seen[row.request, row.sample] += 1
            if not found:
                groups.read()
            assert len(groups.groups) <= MOST_GROUPS
        assert not groups.read()
    fitting = [
        (n, sample) for n, request in enumerate(requests) for sample in request.samples
        if len(request.prompt) <= PLAN.context
    ]  # fmt: skip
    assert seen == collections.Counter(fitting)


def test_prompts_are_dealt_in_turn_and_samples_spread_where_there_is_room():
    with jax.set_mesh(make_mesh((4, 1, 1))):
        groups = PromptGroups(PLAN, params(), wanted((5, 1), (5, 1), (5, 1), (9, 1)), 64)
        groups.read()  # two places for each of four parts, so that every prompt has two
        assert groups.groups[0].padded == 32 and groups.tokens_read == 8 * 32
        dealt = [[(place, row.request) for place, row in w] for w in groups.groups[0].waiting]
        assert dealt == [[(0, 3)], [(0, 0)], [(0, 1)], [(0, 2)]]  # one sample each: once

        groups = PromptGroups(PLAN, params(), wanted((5, 10)), 64)
        groups.read()
        dealt = [[row.sample for _, row in waiting] for waiting in groups.groups[0].waiting]
        assert dealt == [[0, 4, 8], [1, 5, 9], [2, 6], [3, 7]]


def test_a_part_that_is_behind_is_dealt_no_more_than_two_groups():
    requests = wanted(*[(5, 1)] * 12)
    with jax.set_mesh(make_mesh((2, 1, 1))):
        groups = PromptGroups(PLAN, params(), requests, 16)  # one place for each part
        waiting = []
        for _ in range(4):
            assert groups.read()
            take(groups, 0, 1)  # the other part takes none
            waiting.append(sum(len(group.waiting[1]) for group in groups.groups))
        assert waiting == [1, 2, 2, 2]


@pytest.mark.parametrize("seed", range(3))
def test_more_is_false_only_where_nothing_waits(seed):
    chance, requests = random.Random(seed), wanted((5, 2), (50, 1))
    with jax.set_mesh(make_mesh((2, 1, 1))):
        groups, left = PromptGroups(PLAN, params(), requests, 16), 3
        while left:
            assert groups.more
            found = take(groups, chance.randrange(2), 1)
            left -= len(found)
            if not found:
                groups.read()
        assert not groups.more
