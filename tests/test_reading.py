"""A lone row: the views whose turn it is not read what was written later, in one go."""

import jax
import numpy as np
import pytest
from dialogue_rules import END_OF_TURN, PLANS, all_params, make_rules
from test_decode import answer, check
from tiny_student import make_mesh

from distill_jax.sampling import decode, pick
from distill_jax.sampling.dialogues import Request
from distill_jax.sampling.state import RUN, empty_state

RULES = PLANS["both_read_both"]
SCRIPT = (1, 2, 3, 4, 5, 6, END_OF_TURN)


@pytest.fixture
def mesh():
    with jax.set_mesh(make_mesh()):
        yield


def chunk(rules, state, steps):
    """A chunk of steps in which the first role is given SCRIPT."""
    script = np.full((1, rules.script_len), -1, np.int32)
    script[0, : len(SCRIPT)] = SCRIPT
    order = decode.ChunkOrder(script, np.array([True]), np.int32(steps), np.int32(1))
    return decode.decode_chunk, (rules, all_params(rules), state, order, pick.draw(), None)


def admitted(rules):
    """A state with one row, whose prompt has 4 tokens."""
    prompts = np.array([[7, 7, 8, END_OF_TURN]], np.int32)
    caches = decode.prefill(rules, all_params(rules), prompts)
    zero, name = np.zeros(1, np.int32), np.zeros(1, np.uint32)
    admission = decode.Admission(zero, prompts[:, -1], zero + 4, name, name, np.uint32(0))
    return decode.admit(rules, empty_state(rules, 1, 64), caches, admission)


def test_a_view_lets_tokens_wait_until_its_role_has_the_turn(mesh):
    filled = []
    for steps in (7, 8):
        program, arguments = chunk(RULES, admitted(RULES), steps)
        state, progress = program(*arguments)
        assert int(progress.steps) == steps
        slots = [np.asarray(layers[0]["k"])[0, 0].any(axis=-1).sum() for layers in state.caches]
        filled.append((*slots, *np.asarray(state.unread)[:, 0]))
    # The prompt's 4 tokens are read first. The asker writes 7 in 7 steps, and reads 6 of them. Then
    # the answerer reads the last token of the prompt and these 7, and writes. It always reads RUN
    # places; those behind the 8 are overwritten later.
    assert filled == [(4 + 6, 4, 1, 8), (4 + 6, 3 + RUN, 2, 1)]


def test_turns_longer_than_what_may_wait(mesh):
    rules = make_rules(RULES.views, (0, 1), (True, False), max_turn_tokens=99, max_tokens=100)
    long = (*(3,) * (RUN + 8), END_OF_TURN, *(4,) * (RUN - 1), END_OF_TURN)
    requests = [Request("p/0", [7, 8, END_OF_TURN], (0, 1), long)]
    dialogues, _ = answer(rules, requests, pick.draw(1.3), slot_count=1)
    check(rules, requests, dialogues, 1.3)
    assert [len(turn.tokens) for turn in dialogues[0][0].turns[:2]] == [RUN + 8, RUN - 1]


def test_no_cache_is_copied_in_a_step(mesh):
    """On a CPU; a copy is as long as its reading."""
    program, arguments = chunk(RULES, empty_state(RULES, 1, 64), 7)
    text = program.lower(*arguments).compile().as_text()
    shapes = [f"f32[{','.join(map(str, layers[0]['k'].shape))}]" for layers in arguments[2].caches]
    copies = [line for line in text.splitlines() if " copy(" in line]
    assert not [line for line in copies if any(shape in line for shape in shapes)]
