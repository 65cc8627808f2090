"""Own samples: rows of ids, what carries a loss, batches of rounds, and values of a round."""

import dataclasses
import doctest

import numpy as np
import pytest
from tiny_student import ragged_rows, student_rows

from distill_jax.dialogues import rollouts
from distill_jax.dialogues.rollouts import Rollout
from distill_jax.run import round_rows
from distill_jax.run.rollout_pool import Pool, round_seed
from distill_jax.text.rows import NO_LOSS, Row, make_views
from distill_jax.text.transcript import SCHEMES
from distill_jax.training import advantages
from distill_jax.training.batches import Batches, RowShape
from distill_jax.training.policy_objective import OWN_ARRAYS
from distill_jax.training.round_batches import OwnRow, RoundBatches, RoundPlan, shapes_up_to

# As text/rows.py draws it: the question Q R /, the turns a / A / b / B / and the end of text.
Q, R, END, STOP, A_ASKED, A, B_ASKED, B = 20, 21, 1, 0, 30, 31, 32, 33
SOCRATIC = SCHEMES["socratic"]


def rollout(**changes):
    tokens = (A_ASKED, END, A, END, B_ASKED, END, B, END, STOP)
    log_probs = tuple(-0.1 * (i + 1) for i in range(len(tokens)))
    made = Rollout(
        "p/1", 0, (("decomposer", "a"), ("solver", "A")), "finished", "7", True, 0.5, (Q, R, END),
        tokens, (0, 0, 1, 1, 0, 0, 1, 1, 0), (), log_probs,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def views(students=("d", "s"), reads=(("solver",), ("decomposer",))):
    roles = SOCRATIC.roles
    return make_views(
        SOCRATIC, dict(zip(roles, students, strict=True)), dict(zip(roles, reads, strict=True))
    )


def learned(row):
    return [t for t, w in zip(row.tokens, row.writers, strict=True) if w != NO_LOSS]


def test_rows_are_those_of_training():
    """The table in text/rows.py."""
    asker, solver = views()
    row, places = rollout().row(asker, SOCRATIC.roles)
    everything = [Q, R, END, A_ASKED, END, A, END, B_ASKED, END, B, END, STOP]
    assert row.tokens == everything
    assert learned(row) == [A_ASKED, END, B_ASKED, END, STOP] and places == [0, 1, 4, 5, 8]
    row, places = rollout().row(solver, SOCRATIC.roles)
    assert learned(row) == [A, END, B, END] and places == [2, 3, 6, 7]
    blind, _ = views(reads=((), ("decomposer",)))
    row, places = rollout().row(blind, SOCRATIC.roles)
    assert row.tokens == [Q, R, END, A_ASKED, END, B_ASKED, END, STOP]
    assert learned(row) == [A_ASKED, END, B_ASKED, END, STOP] and places == [0, 1, 4, 5, 8]
    (both,) = views(students=("u", "u"))
    row, places = rollout().row(both, SOCRATIC.roles)
    assert learned(row) == everything[3:] and set(row.writers) == {NO_LOSS, 0, 1}


def test_what_was_given_carries_no_loss():
    """The calculator wrote A."""
    _, solver = views()
    row, places = rollout(given=(2,)).row(solver, SOCRATIC.roles)
    assert learned(row) == [END, B, END] and places == [3, 6, 7]
    assert rollout(given=(2,)).learned([solver]) == places


def test_worked_examples_of_docstrings():
    for module in (rollouts, advantages):
        result = doctest.testmod(module)
        assert result.failed == 0 < result.attempted


def test_a_line_of_the_file_is_the_same_record_again():
    made = rollout(old=tuple(np.random.default_rng(0).random(4).astype(np.float32).tolist()))
    assert rollouts.from_json(made.to_json()) == made


def settings(**changes):
    chosen = {"advantage": "rloo", "whiten": False, "reference_kl": 0.0} | changes
    return dataclasses.make_dataclass("Section", chosen)(**chosen)


def config(policy=1.0, **changes):
    loss = dataclasses.make_dataclass("Loss", ["policy"])(policy)
    return dataclasses.make_dataclass("C", ["loss", "rollouts"])(loss, settings(**changes))


def test_every_token_has_the_advantage_of_its_dialogue():
    """Two samples of one problem, two of another, of which one is worth more."""
    solver = views()[1:]
    rewards = ((1.0, 0.0), (0.5, 0.5))
    some = [
        rollout(id=f"p/{p}", sample=s, reward=rewards[p][s], old=(-1.0, -2.0, -3.0, -4.0))
        for p in (0, 1)
        for s in (0, 1)
    ]
    rows = round_rows.own_rows(some, solver, SOCRATIC.roles, config())
    assert [row.advantages.tolist() for row in rows] == [[1.0] * 4, [-1.0] * 4, [0] * 4, [0] * 4]
    assert rows[0].old.tolist() == [-1.0, -2.0, -3.0, -4.0] and rows[0].old.dtype == np.float32
    far = [dataclasses.replace(each, reference=(-1.5, -2.0, -3.0, -5.0)) for each in some]
    rows = round_rows.own_rows(far, solver, SOCRATIC.roles, config(reference_kl=0.1))
    np.testing.assert_allclose(rows[0].advantages, [0.85, 0.9, 0.9, 0.9], rtol=1e-6)
    rows = round_rows.own_rows(some, solver, SOCRATIC.roles, config(whiten=True))
    everything = np.concatenate([row.advantages for row in rows])
    assert everything.mean() == pytest.approx(0, abs=1e-7) and everything.std() == pytest.approx(1)


def test_if_no_sample_is_better_nothing_but_the_divergence_counts():
    """Whitened, the smallest distance from the student at the beginning would be a whole lesson."""
    near = rollout(old=(-1.0, -2.0, -3.0, -4.0), reference=(-1.0, -2.0, -3.0, -4.000001))
    some = [near, dataclasses.replace(near, sample=1)]
    changes = {"whiten": True, "reference_kl": 1e-3}
    rows = round_rows.own_rows(some, views()[1:], SOCRATIC.roles, config(**changes))
    assert np.abs(rows[0].advantages).max() < 1e-8


def test_two_rows_of_one_dialogue_share_its_divergence():
    """A student that reads other turns as decomposer than as solver: what it writes as one answers
    for what follows as the other."""
    both = views(students=("u", "u"), reads=((), ("decomposer",)))
    old, reference = (-1.0,) * 9, (-2.0,) * 9
    one = rollout(old=old, reference=reference)
    two = dataclasses.replace(one, sample=1, reward=0.0)
    rows = round_rows.own_rows([one, two], both, SOCRATIC.roles, config(reference_kl=0.01))
    asker, solver = rows[:2]
    np.testing.assert_allclose(asker.advantages, 0.5 - 0.01 * np.array([9, 8, 5, 4, 1]))
    np.testing.assert_allclose(solver.advantages, 0.5 - 0.01 * np.array([7, 6, 3, 2]))


def test_values_of_a_round():
    solver = views()[1:]
    some = [
        rollout(reward=1.0, old=(-0.3, -0.4, -0.7, -0.8)),
        rollout(sample=1, status="token_cap", old=(-0.3, -0.4, -0.7, -0.9)),
        rollout(id="p/2", correct=False, old=(-0.3, -0.4, -0.7, -0.8)),
        rollout(id="p/2", sample=1, correct=False, tokens=(A_ASKED, END), writers=(0, 0),
                log_probs=(-1.0, -1.0)),
    ]  # fmt: skip
    found = round_rows.values(some, solver)
    assert (found["right"], found["cut_off"]) == (0.25, 0.25)
    assert (found["all_right"], found["all_wrong"]) == (0.0, 0.5)
    assert (found["tokens"], found["tokens_of_right"]) == (29 / 4, 9)
    assert found["sampler_distance"] == pytest.approx(0.1)


def test_rounds_share_the_problems_out():
    pool = Pool(list(range(10)), [[1]] * 10)
    first = [pool.of_round(number, 3, seed=5) for number in range(3)]
    assert len({place for places in first for place in places}) == 9
    assert pool.of_round(1, 3, seed=5) == first[1] != pool.of_round(1, 3, seed=6)
    assert [pool.of_round(number, 3, seed=5) for number in range(3, 6)] != first
    assert len({round_seed(s, name, n) for s in (0, 1) for name in "ab" for n in (0, 1)}) == 8


SHAPE = RowShape(24, 20, packed=False)


def own(count, first=100):
    """Rows that tell which they are."""
    rows = []
    for number in range(count):
        row = Row([5, first + number, 7], [NO_LOSS, 0, 0], "p", "p", "own")
        old = np.array([-1.0, -2.0], np.float32)
        rows.append(OwnRow(row, old, np.full(2, number, np.float32)))
    return rows


def annotated(size):
    return Batches(student_rows(ragged_rows(16)), SHAPE, seed=0, batch_size=max(1, size))


def round_batches(plan, rows, process=0, processes=1):
    made = RoundBatches(plan, SHAPE, annotated(8 - plan.own), process, processes)
    made.read_with(lambda number: own(rows, 100 + 10 * number))
    return made


def targets(batch):
    return [int(row[0]) for row, real in zip(batch["targets"], batch["own_weights"], strict=True)
            if real.any()]  # fmt: skip


def test_a_round_feeds_each_of_its_rows_once():
    data = round_batches(RoundPlan(2, 8, 8, True, seed=0), rows=16)
    for number in (0, 1):
        fed = targets(data[2 * number]) + targets(data[2 * number + 1])
        assert sorted(fed) == list(range(100 + 10 * number, 116 + 10 * number))
        assert fed != sorted(fed)
        assert data.reaches(2 * number + 1) and not data.reaches(2 * number + 2)
    batch = data[1]
    np.testing.assert_allclose(batch["own_weights"].sum(axis=1), 1.0)
    assert not batch["weights"].any() and (batch["old"][:, :2] == [-1.0, -2.0]).all()
    assert {n: x.dtype for n, x in batch.items()} == {
        n: x.dtype for n, x in data.global_shapes().items()
    }


def test_the_shapes_of_batches_are_sixths_of_the_largest():
    shapes = shapes_up_to(RowShape(160, 96, packed=False))
    expected = [(32, 16), (56, 32), (80, 48), (112, 64), (136, 80), (160, 96)]
    assert [(shape.seq_len, shape.loss_capacity) for shape in shapes] == expected
    # The kernels splash and triton take multiples of 128 alone.
    shapes = shapes_up_to(RowShape(1024, 512, packed=False))
    assert [shape.seq_len for shape in shapes] == [256, 384, 512, 768, 896, 1024]
    tiny = RowShape(8, 4, packed=False)
    assert shapes_up_to(tiny) == (tiny,)


@pytest.mark.parametrize("process", [0, 1])
@pytest.mark.parametrize(
    ("tokens", "learned", "seq_len", "slots"),
    [(9, 4, 8, 4), (9, 5, 8, 8), (10, 1, 16, 12), (25, 1, 24, 20)],
)
def test_a_batch_has_the_first_shape_in_which_all_of_its_rows_fit(
    process, tokens, learned, seq_len, slots
):
    """The longest row may be another process's; nothing but padding is lost."""
    rows = own(8)
    long = Row(list(range(tokens)), [NO_LOSS] * (tokens - learned) + [0] * learned, "p", "p", "own")
    values = np.zeros(learned, np.float32)
    rows[3] = OwnRow(long, values, values)
    data = round_batches(RoundPlan(1, 8, 8, True, seed=0), rows=0, process=process, processes=2)
    data.hold(0, rows)
    batch = data[0]
    assert batch["inputs"].shape == (4, seq_len)
    for name in ("loss_positions", "targets", "writers", "weights", *OWN_ARRAYS):
        assert batch[name].shape == (4, slots), name
    [measured] = data.in_order(rows, 8)
    assert measured["inputs"].shape == (4, seq_len)
    if process == 0:
        assert measured["inputs"][3, : tokens - 1].tolist() == long.tokens[:-1]
        count = np.sum(measured["writers"][3] != NO_LOSS)
        assert count == learned


def test_annotations_stand_beside_own_rows():
    """Own rows begin again when all have been used; rows of annotations have no policy loss."""
    plan = RoundPlan(3, 5, 8, True, seed=0)
    data = round_batches(plan, rows=7)
    batches = [data[step] for step in range(3)]
    fed = [target for batch in batches for target in targets(batch)]
    assert sorted(fed[:7]) == sorted(fed[7:14]) == list(range(100, 107)) and len(fed) == 15
    others = annotated(3)
    for step, batch in enumerate(batches):
        held = batch["inputs"].shape[1]
        np.testing.assert_array_equal(batch["inputs"][5:], others[step]["inputs"][:, :held])
        assert not others[step]["inputs"][:, held:].any()
        assert not batch["own_weights"][5:].any() and batch["weights"][5:].any()
    halves = [round_batches(plan, 7, process, processes=2)[2] for process in (0, 1)]
    for name, whole in batches[2].items():
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), whole)
    counts = [round_batches(plan, 7, process, processes=2).tokens(2) for process in (0, 1)]
    assert counts == [batches[2]["length"].sum()] * 2


def test_own_rows_without_a_policy_loss_are_weighted_like_annotations():
    data = round_batches(RoundPlan(1, 4, 8, False, seed=0), rows=4)
    batch = data[0]
    assert "own_weights" not in batch and (batch["weights"][:4].sum(axis=1) == 2).all()


def test_a_round_without_any_row_is_fed_as_nothing():
    data = round_batches(RoundPlan(1, 8, 8, True, seed=0), rows=0)
    assert not data[0]["length"].any() and not data[0]["own_weights"].any()


def test_measurements_see_every_row_once_in_order():
    data = round_batches(RoundPlan(1, 8, 8, True, seed=0), rows=0)
    parts = data.in_order(own(5), size=4)
    assert [batch["targets"][:, 0].tolist() for batch in parts] == [[100, 101, 102, 103],
                                                                   [104, 0, 0, 0]]  # fmt: skip
