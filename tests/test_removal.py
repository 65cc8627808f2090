"""Words that are taken away from rows while students train: by hand, and against what stays."""

import dataclasses
import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_student import OPTIMIZER, make_batches, make_mesh, student_rows

from distill_jax.dialogues.sampler import empty_turn
from distill_jax.records import Annotation, Step
from distill_jax.run import checks
from distill_jax.run.run import make_run
from distill_jax.sampling.turn_rules import FREE_TURN, TurnRules
from distill_jax.settings import command_line
from distill_jax.text.rows import Row, encode_rows, make_views
from distill_jax.text.tokenizer import train_tokenizer
from distill_jax.text.transcript import SCHEMES
from distill_jax.training import loop, removal, step
from distill_jax.training.loop import Hook
from distill_jax.training.removal import ALL, BeginAnew, Removal
from distill_jax.workdir import Workdir

# Q R / a1 a2 / A / b1 b2 b3 / B / .
EXAMPLE = ["Q", "R", "/", "a1", "a2", "/", "A", "/", "b1", "b2", "b3", "/", "B", "/", "."]
FLAGS = [word[0] in "ab" for word in EXAMPLE]
GSM8K = Removal(8.0, 39, 4.0, 0, True, seed=0, steps_per_epoch=2450)


def test_the_examples_of_the_docstrings():
    result = doctest.testmod(removal)
    assert result.attempted == 2 and result.failed == 0


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        (0, "Q R / a1 a2 / A / b1 b2 b3 / B / ."),
        (1, "Q R / a2 / A / b1 b2 b3 / B / ."),
        (3, "Q R / / A / b2 b3 / B / ."),
        (5, "Q R / / A / / B / ."),
        (ALL, "Q R / / A / / B / ."),
    ],
)
def test_a_row_loses_its_words_from_the_left_with_their_loss(removed, left):
    row = Row(list(range(len(EXAMPLE))), [-1] * 3 + [0] * (len(EXAMPLE) - 3), removable=FLAGS)
    rows = student_rows([row])
    assert (rows.most_removable, rows.length(0)) == (5, len(EXAMPLE) - 1)
    inputs, (positions, targets, _) = rows.inputs(0, removed), rows.losses(0, removed)
    assert " ".join(EXAMPLE[i] for i in inputs) + " ." == left
    # All that is left behind the prompt is learned, each at the place before it.
    assert [EXAMPLE[i] for i in targets] == left.split()[3:]
    assert positions.tolist() == list(range(2, len(inputs)))


def test_the_schedule_of_the_paper_on_gsm8k():
    """2,450 steps per epoch, 8 tokens per epoch, all at 39."""
    assert GSM8K.every == 306
    assert [GSM8K.removed(step) for step in (0, 305, 306, 612, 11_933)] == [0, 0, 1, 2, 38]
    assert GSM8K.removed(11_934) == GSM8K.removed(99_999) == ALL
    begins = [step for step in range(15_000) if GSM8K.begins_anew(step, most=60)]
    assert begins == [306 * n for n in range(1, 40)]
    # Nothing is forgotten any more once no row has anything left.
    assert [s for s in range(15_000) if GSM8K.begins_anew(s, 2)] == [306, 612]
    assert not any(
        dataclasses.replace(GSM8K, reset_optimizer=False).begins_anew(s, 60) for s in range(999)
    )
    abrupt = dataclasses.replace(GSM8K, per_epoch=0.0, start=39)
    assert abrupt.removed(0) == ALL and not abrupt.begins_anew(1, 60)
    assert dataclasses.replace(GSM8K, per_epoch=0.0, start=3).removed(9_999) == 3


def test_rows_lose_a_little_more_by_chance():
    drawn = [GSM8K.of_rows(306, number, 1)[0] - 1 for number in range(20_000)]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares[:3], [0.981684, 0.017980, 0.000329], atol=0.003)
    assert dataclasses.replace(GSM8K, smoothing=0.0).of_rows(306, 5, 3) == [1, 1, 1]
    assert GSM8K.of_rows(11_934, 5, 2) == [ALL, ALL]


@pytest.mark.parametrize("packed", [False, True])
def test_a_resumed_run_cuts_the_same_tokens(packed):
    flags = [False, *[True] * 10, False]
    rows = [Row([9, *range(10, 20), 1], [-1, *[0] * 11], removable=flags)] * 20
    schedule = Removal(8.0, 0, 0.7, 0, True, seed=3)
    kept = make_batches(rows, packed, seq_len=32, batch_size=4, removal=schedule)
    assert kept.removal is not None and kept.removal.steps_per_epoch == (2.5 if packed else 5.0)
    lengths = [int(kept[step]["length"].sum()) for step in range(25)]
    assert lengths[0] > lengths[24]  # though rows are drawn, too
    for number in (24, 7, 0):  # in any order, by a process that begins there
        again = make_batches(rows, packed, seq_len=32, batch_size=4, removal=schedule)[number]
        for name, value in kept[number].items():
            np.testing.assert_array_equal(again[name], value, strict=True)
    # The tokens of a step are counted without making its batch, and each process has its part.
    assert [kept.fed(step)[0] for step in range(25)] == lengths
    losses = [int((kept[step]["writers"] >= 0).sum()) for step in range(5)]
    assert [kept.fed(step)[1] for step in range(5)] == losses
    parts = [
        make_batches(rows, packed, 32, 4, process=process, processes=2, removal=schedule)[9][
            "inputs"
        ]
        for process in (0, 1)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), kept[9]["inputs"])


STEPS = (Step("How many in June, then?", "48/2 = 24"), Step("How many in all?", "48+24 = 72"))
ASKED = Annotation("a", "Ann sold 48 clips. How many?", "72", STEPS, {"kind": "gold"})


def encoded(scheme, role, **students):
    socratic = SCHEMES[scheme]
    reads = {"decomposer": ["solver"], "solver": ["decomposer"]}
    views = make_views(socratic, {"decomposer": "asker", "solver": "solver"} | students, reads)
    tokenizer = train_tokenizer([ASKED.question, *(s.solution for s in STEPS)], 300)
    rows = encode_rows([ASKED], socratic, views, tokenizer, role)
    return rows["solver"][0], tokenizer


def cut(row):
    left = removal.left_over(np.array(row.removable), ALL)
    return np.array(row.tokens)[left].tolist(), np.array(row.writers)[left].tolist()


@pytest.mark.parametrize("unified", [True, False])
def test_in_the_end_a_row_is_a_dialogue_with_nothing_given(unified):
    """sampling.given=nothing: the decomposer says nothing, until the solver has said its answer."""
    row, tokenizer = encoded(
        "socratic", "decomposer", **({"decomposer": "solver"} if unified else {})
    )
    marks = tokenizer.end_of_turn, tokenizer.end_of_text
    rules = TurnRules((), (0, 1), (1, 0), (True,) * 2, (True, False), *marks, 300, 9, 9, 9)
    opening, free, _ = empty_turn(rules)
    assert free == FREE_TURN
    expected = [*tokenizer.encode([ASKED.question])[0], marks[0]]
    prompt = len(expected)
    for text in ("48/2 = 24", "48+24 = 72\n#### 72"):
        expected += [opening, *tokenizer.encode([text])[0], marks[0]]
    tokens, writers = cut(row)
    if unified:  # who also ends the text
        expected.append(marks[1])
        assert all(writer >= 0 for writer in writers[prompt:])
    assert tokens == expected
    assert sum(row.removable) == sum(map(len, tokenizer.encode([s.subquestion for s in STEPS])))


@pytest.mark.parametrize(("scheme", "turns"), [("chain", 1), ("socratic", 2)])
def test_the_solver_keeps_its_answer(scheme, turns):
    row, tokenizer = encoded(scheme, "solver")
    tokens, _ = cut(row)
    said = tokenizer.decode(tokens)
    assert said.count("\n#### 72") == 1 and "48/2" not in said and "48+24" not in said
    if scheme == "chain":  # what is left is a row of answer_only
        assert (tokens, cut(row)[1]) == (
            encoded("answer_only", "")[0].tokens, encoded("answer_only", "")[0].writers
        )  # fmt: skip


def forgetting_run(steps, hook, saved=None):
    """Twelve updates of two numbers; the state at every step in `steps` before the hook is called,
    or from one of them on."""

    def update(state, batch):
        gradient = {"kernel": jnp.cos(state.params["kernel"] * batch["length"])}
        changes, opt_state = OPTIMIZER.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, changes)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), {}

    class Source:
        def __getitem__(self, number):
            return {"length": np.array([number + 1.0], np.float32)}

        def reaches(self, number):
            return True

    mesh, kept = make_mesh(), {}
    with jax.set_mesh(mesh):
        begun = step.init_state({"kernel": jnp.array([0.3, -2.0])}, OPTIMIZER)
        first, state = saved or (0, begun)
        moment = loop.Moment(first, state, 12, 0, loop.Stopwatch())

        def save(moment):
            if moment.step in steps:
                kept[moment.step] = jax.tree.map(np.asarray, moment.state)

        hooks = [Hook(1, save), *([Hook(1, hook)] if hook else [])]
        loop.train(jax.jit(update), moment, Source(), mesh, hooks)
    return moment.state, kept


def test_the_optimizer_begins_anew_and_a_resumed_run_does_so_too():
    schedule = Removal(2.0, 3, 4.0, 0, True, seed=0, steps_per_epoch=8.0)
    hook = BeginAnew(schedule, most=9)
    assert [s for s in range(13) if schedule.begins_anew(s, 9)] == [4, 8, 12]
    whole, saved = forgetting_run((4, 6), hook)
    for at in (4, 6):  # at a step where it forgets, too: it was saved before
        state = jax.tree.map(jnp.asarray, saved[at])
        again, _ = forgetting_run((), hook, (at, state))
        jax.tree.map(np.testing.assert_array_equal, again, whole)
    plain, _ = forgetting_run((), None)
    assert not np.array_equal(plain.params["kernel"], whole.params["kernel"])
    # Adam counts from the last time (8), the schedule of the learning rate from the first step.
    counts = [int(leaf) for leaf in jax.tree.leaves(whole.opt_state) if leaf.dtype == jnp.int32]
    assert sorted(counts) == [4, 12]
    adam = removal.forgotten(whole.opt_state)
    zero = [leaf for leaf in jax.tree.leaves(adam) if not np.any(leaf)]
    assert len(zero) == 3  # count and both moments


def test_what_is_said_of_keys_that_make_no_sense():
    def said(**changes):
        config = command_line.load_config("configs/demo.py")
        command_line.set_values(config, {f"data.removal.{k}": v for k, v in changes.items()})
        return checks.mistakes(config)

    assert said() == said(role="decomposer") == said(role="solver") == []
    assert said(role="planner") == [
        "config.data.removal.role='planner': choose \"\", decomposer, solver"
    ]
    assert said(role="solver", per_epoch=0.0) == [
        "config.data.removal.role is set, but nothing is removed: set "
        "config.data.removal.per_epoch or config.data.removal.start above 0"
    ]
    assert len(said(smoothing=-1.0, start=-2)) == 2


def test_what_is_off_is_no_part_of_a_run():
    config = command_line.load_config("configs/demo.py")
    command_line.set_values(config, {"data.removal.per_epoch": 3.0})
    identity = make_run(config, Workdir("nowhere")).identity()
    assert not [key for key in identity if "removal" in key]
    command_line.set_values(config, {"data.removal.role": "decomposer"})
    identity = make_run(config, Workdir("nowhere")).identity()
    assert len([key for key in identity if key.startswith("data.removal.")]) == 6
