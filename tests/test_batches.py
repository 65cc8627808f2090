"""Rows, packing, order, slices of processes."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_student import make_batches, ragged_rows, student_rows

from distill_jax.errors import UserError
from distill_jax.text.rows import Row
from distill_jax.training import batches, packing


def test_a_row_is_shifted_by_one_exactly_once():
    data = make_batches([Row([5, 6, 1, 7, 0], [-1, -1, -1, 0, 0])], batch_size=1)
    row = data.row(0)
    assert row["inputs"].tolist() == [5, 6, 1, 7, 0, 0, 0, 0]
    assert row["loss_positions"].tolist() == [2, 3, 0, 0]
    assert row["targets"].tolist() == [7, 0, 0, 0]
    assert row["writers"].tolist() == [0, 0, -1, -1]
    assert row["weights"].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert (int(row["length"]), int(row["problems"]), set(row) & {"segments"}) == (4, 1, set())


def test_the_packed_row_of_the_docstring():
    source = student_rows(
        [Row([5, 6, 1, 7, 0], [-1, -1, -1, 0, 0]), Row([8, 1, 9, 0], [-1, -1, 0, 0])]
    )
    row = batches.assemble(source, [0, 1], batches.RowShape(12, 12, True))
    assert row["inputs"].tolist() == [5, 6, 1, 7, 8, 1, 9, 0, 0, 0, 0, 0]
    assert row["segments"].tolist() == [1, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0]
    assert row["positions"].tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 0, 0, 0, 0]
    assert row["loss_positions"].tolist()[:5] == [2, 3, 5, 6, 0]
    assert row["targets"].tolist()[:5] == [7, 0, 9, 0, 0]
    assert row["writers"].tolist()[:5] == [0, 0, 0, 0, -1]
    assert row["weights"].tolist()[:5] == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert (int(row["length"]), int(row["problems"])) == (7, 2)


def test_rows_that_cannot_be_trained_on_are_refused():
    good = Row([1, 2, 3], [-1, 0, 0])
    with pytest.raises(UserError, match=r"1 of 2 rows .* longer than 2 tokens .*: the one with 3"):
        student_rows([good, Row([1, 2, 3, 4], [-1, 0, 0, 0], "the one")], 2)
    with pytest.raises(UserError, match="student 's' has no token to learn in the row of that one"):
        student_rows([good, Row([1, 2], [-1, -1], "that one")])
    with pytest.raises(UserError, match="no training rows"):
        student_rows([])


def test_a_small_share_of_long_rows_is_dropped_and_counted():
    rows = [Row([i, 2, 3], [-1, 0, 0]) for i in range(9)] + [Row([1] * 9, [-1] + [0] * 8)]
    kept = student_rows(rows, 4, max_dropped_share=0.1)
    assert (len(kept), kept.dropped, kept.tokens, kept.longest) == (9, 1, 18, 2)
    with pytest.raises(UserError, match=r"config.data.max_dropped_share"):
        student_rows(rows, 4, max_dropped_share=0.09)


def test_rows_are_counted_by_origin():
    lengths = {("a", "p/1"): 3, ("a", "p/2"): 5, ("b", "p/3"): 4, ("b", "p/3 again"): 2}
    rows = [
        Row([1] * length, [-1] + [0] * (length - 1), problem=problem[:3], origin=origin)
        for (origin, problem), length in lengths.items()
    ]
    assert student_rows(rows, 3, max_dropped_share=0.25).origins == {
        "a": {"problems": 1, "rows": 1, "row_tokens": 2, "dropped_rows": 1},
        "b": {"problems": 1, "rows": 2, "row_tokens": 4, "dropped_rows": 0},
    }


@pytest.mark.parametrize("packed", [False, True])
def test_batches_are_a_pure_function_of_seed_and_step(packed):
    first, again = (make_batches(ragged_rows(30), packed, 40, batch_size=4) for _ in range(2))
    for number in (7, 0, 7, 123):
        for key in ("inputs", "targets"):
            assert (first[number][key] == again[number][key]).all()
    other = batches.Batches(student_rows(ragged_rows(30)), first.shape, seed=4, batch_size=4)
    assert any((first[i]["inputs"] != other[i]["inputs"]).any() for i in range(3))


@pytest.mark.parametrize("batch_size", [4, 5])
def test_every_epoch_has_every_row_once_in_an_order_of_its_own(batch_size):
    rows = [Row([i, 1, 2], [-1, 0, 0]) for i in range(20)]  # the first token names the row
    data = make_batches(rows, batch_size=batch_size)
    per_epoch = 20 // batch_size
    epochs = [
        np.concatenate([data[e * per_epoch + i]["inputs"][:, 0] for i in range(per_epoch)]).tolist()
        for e in range(3)
    ]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 120))
def test_first_fit_equals_an_obvious_loop(lengths, capacity):
    """Where fewer bins are open than the limit, it is plain first-fit."""
    bins, room = [], []
    for index, length in enumerate(lengths):
        for number in range(len(bins)):
            if room[number] >= length:
                break
        else:
            number = len(bins)
            bins.append([])
            room.append(capacity)
        bins[number].append(index)
        room[number] -= length
    assert packing.first_fit(lengths, capacity) == bins


def test_first_fit_stays_complete_with_more_bins_than_may_be_open():
    rng = np.random.default_rng(0)
    lengths = rng.integers(60, 100, 3000).tolist()  # one to a bin
    bins = packing.first_fit(lengths, 100)
    assert len(bins) == 3000 > packing.OPEN_BINS
    lengths = rng.integers(1, 100, 5000).tolist()
    bins = packing.first_fit(lengths, 100)
    assert sorted(i for members in bins for i in members) == list(range(5000))
    assert all(sum(lengths[i] for i in members) <= 100 for members in bins)
    with pytest.raises(ValueError, match="row 1 has 101 tokens"):
        packing.first_fit([5, 101], 100)


def named_rows(count, length=5, first=0):
    """Rows whose first token is their number."""
    return [Row([first + i] + [1] * (length - 1), [-1] + [0] * (length - 1)) for i in range(count)]


def first_tokens(row):
    """The numbers of the rows in a packed row."""
    return row["inputs"][(row["positions"] == 0) & (row["segments"] > 0)].tolist()


def test_packed_epochs_hold_every_row_once_and_mix_who_travels_together():
    rng = np.random.default_rng(1)
    rows = [Row([i] + [1] * n, [-1] + [0] * n) for i, n in enumerate(rng.integers(2, 9, 40))]
    data = make_batches(rows, packed=True, seq_len=16, batch_size=2)
    number, epochs, companions = 0, [], []
    for _ in range(3):
        seen = []
        while len(seen) < 40:
            members = first_tokens(data.row(number))
            companions.append(frozenset(members))
            seen += members
            number += 1
        epochs.append(seen)
        assert sorted(seen) == list(range(40))
    assert len({tuple(e) for e in epochs}) == 3
    assert collections.Counter(companions).most_common(1)[0][1] < 3


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_hold_slices_of_the_same_batch(packed, processes):
    rows = ragged_rows(30)
    whole = make_batches(rows, packed, 40)
    parts = [
        make_batches(rows, packed, 40, process=p, processes=processes) for p in range(processes)
    ]
    for number in (0, 5):
        for key, value in whole[number].items():
            joined = np.concatenate([part[number][key] for part in parts])
            assert (joined == value).all()
        # Every process counts the tokens of all.
        fed = {part.tokens(number) for part in parts}
        assert fed == {whole[number]["length"].sum()}
    with pytest.raises(UserError, match="does not divide by 3 processes"):
        make_batches(rows, packed, 40, process=0, processes=3)


def test_dev_batches_hold_every_row_once_and_fill_up_with_empty_ones():
    source = student_rows(named_rows(5))
    parts = [
        batches.dev_batches(source, batches.row_shape(source, 0, False), 4, process, 2)
        for process in (0, 1)
    ]
    whole = [np.concatenate([part[i]["inputs"][:, 0] for part in parts]) for i in range(2)]
    assert whole[0].tolist() == [0, 1, 2, 3] and whole[1].tolist() == [4, 0, 0, 0]
    lengths = np.concatenate([part[1]["length"] for part in parts])
    assert lengths.tolist() == [4, 0, 0, 0]
    assert (parts[1][1]["writers"] == -1).all()
