"""The jitted alternating sampler against a slow host loop without cache and without padding.

The matrix: reads (plans) x students x sizes (in the plans) x scripts x calculator x samples x slots
x mesh, greedy and sampled. Left out: every combination with every mesh (five plans there), and
bfloat16, where single tokens may differ (docs/sampling.md says how many).
"""

import collections
import dataclasses
import itertools
import types

import jax
import numpy as np
import pytest
from dialogue_rules import (
    BOTH,
    END_OF_TEXT,
    END_OF_TURN,
    LARGE,
    PLANS,
    SMALL,
    Toy,
    all_params,
    expected_dialogue,
    make_rules,
    obvious_loop,
    ragged_requests,
    toy_resume,
)
from tiny_student import make_mesh

from distill_jax.dialogues import sampler
from distill_jax.model import sharding
from distill_jax.sampling import decode, generate, pick, slots
from distill_jax.sampling.generate import Chunk, Finished, Growing
from distill_jax.sampling.schedule import LOOK, Job, Work
from distill_jax.sampling.turn_rules import FREE, FREE_TURN, HOLD, ViewRules
from distill_jax.text.rows import View
from distill_jax.text.transcript import SCHEMES

SCRIPTS = {
    "free": (),
    "given_subquestions": (1, 2, END_OF_TURN, FREE_TURN, 5, END_OF_TURN, FREE_TURN, END_OF_TEXT),
    "first_turn_then_free": (4, 4, END_OF_TURN, FREE_TURN),
    # Longer than max_turn_tokens, which is 12.
    "long_turns": (*range(9), *range(9), END_OF_TURN, FREE_TURN, *([3] * 12), END_OF_TURN),
    "history": (1, END_OF_TURN, 2, 3, 9, END_OF_TURN, 7, END_OF_TURN),
    "single_tokens": (FREE, 5, FREE, FREE, 6),
    "held": (END_OF_TURN, FREE_TURN, HOLD),
}
# Where a planner speaks first: its plan, its plan and a subquestion, its own and no subquestion.
GUIDED_SCRIPTS = {
    "given_plan": (4, 2, 4, END_OF_TURN),
    "plan_and_subquestion": (4, 2, END_OF_TURN, 1, 2, END_OF_TURN, FREE_TURN, END_OF_TEXT),
    "planned_then_held": (FREE_TURN, END_OF_TURN, FREE_TURN, HOLD),
}


@pytest.fixture
def mesh():
    with jax.set_mesh(make_mesh()):
        yield


def answer(rules, requests, how=None, slot_count=7, params=None, **more):
    return generate.collect(job(rules, requests, how, slot_count, params, **more))


def job(rules, requests, how=None, slot_count=7, params=None, **more):
    params = all_params(rules) if params is None else params
    return Job(rules, params, requests, how or pick.draw(), seed=3, slots=slot_count, **more)


def check(rules, requests, dialogues, temperature=0.0, calculator=None):
    params = all_params(rules)
    for request, answered in zip(requests, dialogues, strict=True):
        for sample, dialogue in zip(request.samples, answered, strict=True):
            written, status = obvious_loop(
                rules, params, request, sample, temperature, calculator=calculator
            )
            got = [(turn.role, turn.tokens, turn.written) for turn in dialogue.turns]
            assert got == expected_dialogue(written, rules)
            assert dialogue.status == status
            sums = [
                sum(each)
                for each in zip(
                    *((t.log_probability, t.entropy, t.margin) for t in dialogue.turns), strict=True
                )
            ]
            expected = np.sum([entry[2:] for entry in written], axis=0)
            assert sums == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("slot_count", [1, 7])
@pytest.mark.parametrize("name", PLANS)
def test_equals_obvious_loop(mesh, name, slot_count, temperature):
    rules, requests = PLANS[name], ragged_requests(9)
    dialogues, work = answer(rules, requests, pick.draw(temperature), slot_count)
    check(rules, requests, dialogues, temperature)
    assert work.kept_tokens == sum(t.written for [d] in dialogues for t in d.turns)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("name", ["both_read_both", "neither_reads", "one_student_two_views"])
def test_scripts_equal_the_obvious_loop(mesh, name, script):
    check_scripts(PLANS[name], SCRIPTS[script])


@pytest.mark.parametrize("script", GUIDED_SCRIPTS)
def test_scripts_with_a_planner_equal_the_obvious_loop(mesh, script):
    # Drawn: the most likely plans of these weights have no end.
    dialogues = check_scripts(PLANS["planner_speaks_once"], GUIDED_SCRIPTS[script], 1.3)
    roles = [[turn.role for turn in dialogue.turns] for [dialogue] in dialogues]
    assert all(0 not in each[1:] for each in roles) and max(map(len, roles)) > 3


def test_a_planner_before_a_chain_equals_the_obvious_loop(mesh):
    """The solver follows itself, so it cannot pass its turn; with its own plan and a given one."""
    views = (ViewRules("asker", SMALL, (True, False)), ViewRules("answerer", LARGE, BOTH))
    turns = {"next_role": (1, 1), "may_pass": (True, False)}
    rules = make_rules(views, (0, 1), (False, True), **turns)
    ours = sampler.make_rules(
        SCHEMES["planned_chain"],
        [View("asker", frozenset(["planner"]), (0,)),
         View("answerer", frozenset(["planner", "solver"]), (1,))],
        {"asker": SMALL, "answerer": LARGE},
        types.SimpleNamespace(size=12, end_of_turn=END_OF_TURN, end_of_text=END_OF_TEXT),
        types.SimpleNamespace(max_turns=6, max_turn_tokens=12, max_tokens=40, dtype="float32",
                              attention="xla", calculator=False),
    )  # fmt: skip
    assert ours == rules
    dialogues = check_scripts(rules, GUIDED_SCRIPTS["given_plan"], 1.3)
    roles = {tuple(turn.role for turn in dialogue.turns) for [dialogue] in dialogues}
    assert roles == {(0, 1)}


def check_scripts(rules, script, temperature=0.0):
    """Two rows of three get the script, the others write all by themselves."""
    requests = [
        dataclasses.replace(request, script=script if i % 3 else ())
        for i, request in enumerate(ragged_requests(8))
    ]
    dialogues, _ = answer(rules, requests, pick.draw(temperature), resume=toy_resume)
    check(rules, requests, dialogues, temperature)
    return dialogues


@pytest.mark.parametrize("script", ["long_turns", "held"])
def test_scripts_wait_for_headers(mesh, script):
    check_scripts(PLANS["headers"], SCRIPTS[script])


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("headers", "given_subquestions"),
        ("chain", "free"),
        *(("both_read_both", s) for s in ("free", "given_subquestions", "held")),
    ],
)
def test_the_calculator_fills_in(mesh, name, temperature, script):
    rules = PLANS[name]
    rules = dataclasses.replace(rules, calculator_role=len(rules.role_views) - 1)
    requests = ragged_requests(24, script=SCRIPTS[script])
    dialogues, work = answer(
        rules, requests, pick.draw(temperature), calculator=Toy.table, resume=toy_resume
    )
    check(rules, requests, dialogues, temperature, Toy)
    assert work.held > 0
    without, _ = answer(rules, requests, pick.draw(temperature), resume=toy_resume)
    assert without != dialogues


def test_the_values_of_the_calculator_are_counted_for_each_dialogue(mesh):
    rules = dataclasses.replace(PLANS["chain"], calculator_role=0)
    requests = ragged_requests(16)
    dialogues, work = answer(rules, requests, calculator=Toy.table, resume=toy_resume)
    params, expected = all_params(rules), []
    for request, [dialogue] in zip(requests, dialogues, strict=True):
        known, places = [], []

        class Counting(Toy):
            @staticmethod
            def value(turn, known=known, places=places):
                value = Toy.value(turn)
                known.append(bool(value))
                places += range(len(turn), len(turn) + len(value))
                return value

        obvious_loop(rules, params, request, calculator=Counting)
        expected.append(sum(known))
        written = sum(turn.written for turn in dialogue.turns)
        assert dialogue.given == tuple(place for place in places if place < written)
    assert [dialogue.filled_in for [dialogue] in dialogues] == expected
    assert work.held > sum(expected) > 0  # a row is held in vain where there is no value


def test_a_given_turn_may_be_longer_than_the_cap_but_not_the_dialogue(mesh):
    rules = PLANS["both_read_both"]
    script = (*([3] * 30), END_OF_TURN, FREE_TURN)
    [dialogue], [longer] = answer(
        rules,
        [
            dataclasses.replace(request, script=entries)
            for request, entries in zip(
                ragged_requests(2), (script, (*([3] * 9), *script)), strict=True
            )
        ],
    )[0]
    assert dialogue.turns[0].tokens == [3] * 30 and len(dialogue.turns) > 1
    # 40 tokens at most: 39 given ones, their mark, and nothing behind them.
    assert [turn.written for turn in longer.turns] == [40] and longer.status == "token_cap"


@pytest.mark.parametrize("slot_count", [2, 5, 16])
def test_samples_share_a_prompt_and_differ(mesh, slot_count):
    rules, requests = PLANS["both_read_both"], ragged_requests(4, samples=(0, 1, 2, 5))
    dialogues, work = answer(rules, requests, pick.draw(1.3), slot_count)
    check(rules, requests, dialogues, 1.3)
    assert all(len({str(d) for d in answered}) > 1 for answered in dialogues)
    # Prompts are read once, however many samples want them.
    once, alone = answer(rules, ragged_requests(4), pick.draw(1.3), slot_count)
    assert work.prefill_tokens == alone.prefill_tokens
    assert [answered[0] for answered in dialogues] == [d for [d] in once]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("both_read_both", (8, 1, 1)),
        ("both_read_both", (2, 2, 2)),
        ("one_student_one_view", (1, 8, 1)),
        ("one_student_two_views", (1, 1, 2)),
        ("neither_reads", (2, 2, 2)),
        ("ensemble", (2, 2, 2)),
    ],
)
def test_a_mesh_gives_the_tokens_of_one_device(name, shape):
    rules, requests = PLANS[name], ragged_requests(10, samples=(0, 1))
    with jax.set_mesh(make_mesh()):
        expected, _ = answer(rules, requests, pick.draw(1.3), 8)
    mesh = make_mesh(shape)
    with jax.set_mesh(mesh):
        params = all_params(rules)
        specs = {
            s: sharding.match_rules(rules.students[s].partition_rules, p) for s, p in params.items()
        }
        params = jax.device_put(params, sharding.shardings(mesh, specs))
        got, _ = answer(rules, requests, pick.draw(1.3), 8, params)
    simple = lambda all_: [[(d.status, [t.tokens for t in d.turns]) for d in x] for x in all_]  # noqa: E731
    assert simple(got) == simple(expected)


@pytest.fixture
def chunks(monkeypatch):
    """A list that is one longer with every chunk that runs on the device."""
    run, ran = decode.decode_chunk, []

    def counted(*arguments):
        ran.append(None)
        return run(*arguments)

    monkeypatch.setattr(decode, "decode_chunk", counted)
    return ran


@pytest.mark.parametrize("stop_at", [Chunk, Growing, Finished])
def test_no_chunk_runs_once_the_iterator_is_closed(mesh, chunks, stop_at):
    events = generate.generate(job(PLANS["both_read_both"], ragged_requests(60), look=True))
    before = [next(events)]
    assert before == [Chunk(Work(slots=7))] and not chunks  # the first event comes before any
    while not (isinstance(before[-1], stop_at) and len(chunks) >= 3):
        before.append(next(events))
    assert sum(isinstance(event, Finished) for event in before) < 60
    count = len(chunks)
    events.close()
    assert list(events) == [] and len(chunks) == count


def test_what_grows_is_seen_every_few_tokens_and_is_the_same(mesh):
    rules, requests = PLANS["both_read_both"], ragged_requests(9, samples=(0, 2))
    expected, _ = answer(rules, requests, pick.draw(1.3))
    seen, finished = collections.defaultdict(list), {}
    for event in generate.generate(job(rules, requests, pick.draw(1.3), look=True)):
        if isinstance(event, Growing):
            seen[event.request, event.sample].append(event.dialogue)
        elif isinstance(event, Finished):
            finished[event.request, event.sample] = event.dialogue
    assert finished == {
        (number, sample): dialogue
        for number, answered in enumerate(expected)
        for sample, dialogue in zip((0, 2), answered, strict=True)
    }
    for key, dialogue in finished.items():
        lengths = [sum(turn.written for turn in look.turns) for look in seen[key]]
        assert seen[key][-1] == dialogue and dialogue.status != "running"
        assert all(look.status == "running" for look in seen[key][:-1])
        assert all(0 < b - a <= LOOK for a, b in itertools.pairwise([0, *lengths]))


@pytest.mark.slow  # to the last bit of what is compiled with all optimisations
def test_neighbours_order_and_slots_do_not_matter(mesh):
    """At an equal number of slots bit for bit, log-probabilities too; else token for token."""
    rules, requests = PLANS["long"], ragged_requests(30)
    for how in (pick.draw(), pick.draw(1.1, 5, 0.9)):
        everything, _ = answer(rules, requests, how, 8)
        few, _ = answer(rules, requests[11:14], how, 8)
        backwards, _ = answer(rules, requests[::-1], how, 8)
        assert few == everything[11:14]
        assert backwards[::-1] == everything
        for slot_count in (1, 16, 64):
            other, _ = answer(rules, requests, how, slot_count)
            tokens = [[t.tokens for t in d.turns] for [d] in other]
            assert tokens == [[t.tokens for t in d.turns] for [d] in everything]


def test_random_weights_reach_every_status(mesh):
    """Otherwise the comparisons above would not have compared them."""
    seen = set()
    for rules in PLANS.values():
        dialogues, _ = answer(rules, ragged_requests(9), pick.draw(1.3))
        seen |= {dialogue.status for [dialogue] in dialogues}
    assert seen == {"finished", "turn_cap", "token_cap", "context"}


def test_a_row_that_filled_its_context_leaves_nothing_behind_in_its_slot(mesh):
    """It goes on being fed while others run, at a position that does not exist."""
    rules, requests = PLANS["short_context"], ragged_requests(60)
    dialogues, _ = answer(rules, requests, slot_count=16)
    assert sum(dialogue.status == "context" for [dialogue] in dialogues) > 10
    check(rules, requests, dialogues)


def test_prompt_longer_than_the_context_is_not_run(mesh):
    rules = PLANS["short_context"]
    requests = [
        dataclasses.replace(request, prompt=prompt)
        for request, prompt in zip(ragged_requests(3), ([1] * 31, [1] * 30, [2, 3]), strict=True)
    ]
    dialogues, _ = answer(rules, requests)
    assert [d.status == "prompt_too_long" for [d] in dialogues] == [True, False, False]
    [[turn]] = [d.turns for d in dialogues[1]]
    assert turn.written == 1


@pytest.mark.parametrize("most", [1, 30, 63, 64, 65, 100])
def test_caches_are_as_long_as_dialogues_can_become_and_no_longer(mesh, most):
    """Of a context of 256 tokens; reckoned before anything is asked."""
    rules = dataclasses.replace(PLANS["long"], max_tokens=most)
    requests = ragged_requests(40)
    longest = slots.longest_window(rules, max(len(request.prompt) for request in requests))
    assert longest < 256 and longest - most < 21 + 64 + 64
    dialogues, work = answer(rules, requests, pick.draw(1.3), 8)
    assert any(dialogue.status == "token_cap" for [dialogue] in dialogues)
    assert work.window <= longest


def test_nothing_is_asked(mesh):
    dialogues, work = answer(
        PLANS["chain"], [dataclasses.replace(ragged_requests(1)[0], samples=())]
    )
    assert dialogues == [[]] and work.steps == 0


def test_slots_that_finish_are_filled_again(mesh):
    rules, requests = PLANS["both_read_both"], ragged_requests(200)
    _, work = answer(rules, requests, slot_count=8)
    batches = [requests[i : i + 8] for i in range(0, 200, 8)]
    alone = [answer(rules, batch, slot_count=8)[1] for batch in batches]
    before = sum(w.kept_tokens for w in alone) / sum(8 * w.steps for w in alone)
    assert work.utilisation > 0.85 > before
    taken = sorted((slot, first, last) for slot, _, first, last in work.rows)
    assert len(taken) == 200  # and nobody sits in a slot that is taken:
    for one, other in itertools.pairwise(taken):
        assert one[0] != other[0] or one[2] <= other[1]


def test_one_compilation_per_program_and_shape_over_500_ragged_problems(mesh):
    rules, params = PLANS["both_read_both"], all_params(PLANS["both_read_both"])
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **more: (
            compiled.append(more["fun_name"])
            if event == "/jax/core/compile/backend_compile_duration"
            else None
        )
    )
    rng = np.random.default_rng(1)
    requests = [
        dataclasses.replace(request, prompt=rng.integers(0, 10, rng.integers(1, 60)).tolist())
        for request in ragged_requests(500)
    ]
    programs = (decode.prefill, decode.admit, decode.decode_chunk)
    for program in programs:
        program.clear_cache()
    answer(rules, requests, pick.draw(), 24, params)
    counts = collections.Counter(compiled)
    # Prompts of 32, 48 and 64 tokens; caches for the whole context, 96 tokens rounded up.
    assert [program._cache_size() for program in programs] == [3, 3, 1]
    assert counts["jit(prefill)"] == counts["jit(admit)"] == 3 and counts["jit(decode_chunk)"] == 1
    # What draws is another program, and what narrows before it; other numbers are not.
    for how, more in (
        (pick.draw(0.7), ["jit(decode_chunk)"]),
        (pick.draw(1.2), []),
        (pick.draw(0.7, 3), ["jit(decode_chunk)"]),
        (pick.draw(0.9, 0, 0.5), []),
        (pick.draw(), []),
    ):
        compiled.clear()
        answer(rules, requests[::-1], how, 24, params)
        assert compiled == more, how
