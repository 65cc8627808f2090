"""What makes files of a million problems possible changes nothing: rows, lines, records, bars."""

import dataclasses
import importlib.util
import itertools
import json
import pathlib
import types

import pytest

from benchmarks import data
from benchmarks.data_files import write_task
from distill_jax import records
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction, Sample, Step, Turn
from distill_jax.run import from_first
from distill_jax.tasks import arithmetic
from distill_jax.text import rows, tokenizer
from distill_jax.text.formats import FINE_TUNE_COT
from distill_jax.text.rows import NO_LOSS, Row, Rows, View
from distill_jax.text.transcript import SCHEMES, render
from distill_jax.tracking import progress
from distill_jax.tracking.terminal import Terminal
from distill_jax.training.batches import StudentRows

GOLD = arithmetic.load_annotations("train", train_problems=7)
ROLES = ("planner", "decomposer", "solver")


@pytest.fixture(scope="module")
def trained():
    texts = [text for a in GOLD for text in (a.question, *(s.solution for s in a.steps))]
    return tokenizer.train_tokenizer(texts, 400)


def slow_row(annotation, view, scheme, tokens):
    """The row of one view, token by token, as the page on the method tells it."""
    form = scheme.text_format
    found = [(token, NO_LOSS) for token in tokens.encode([form.question(annotation.question)])[0]]
    if form.question_is_a_turn:
        found.append((tokens.end_of_turn, NO_LOSS))
    turns = render(annotation, scheme)
    ender_spoke_last = turns[-1][0] == scheme.ender
    for number, (writer, text) in enumerate(turns, start=1):
        role = scheme.roles.index(writer)
        mark = tokens.end_of_turn
        if number == len(turns) and ender_spoke_last:
            mark = tokens.end_of_text
        if writer in view.sees:
            learned = role if role in view.writes else NO_LOSS
            found += [(token, learned) for token in (*tokens.encode([text])[0], mark)]
    ender = scheme.roles.index(scheme.ender)
    if not ender_spoke_last and ender in view.writes:
        found.append((tokens.end_of_text, ender))
    return Row([token for token, _ in found], [writer for _, writer in found])


def _cases():
    for scheme in SCHEMES.values():
        yield scheme
        if scheme.alone:
            yield dataclasses.replace(scheme, text_format=FINE_TUNE_COT)


@pytest.mark.parametrize("at_once", [1, 3, 2048])
@pytest.mark.parametrize(
    "scheme", list(_cases()), ids=lambda each: f"{each.name}-{each.text_format.name}"
)
def test_rows_equal_those_that_are_made_token_by_token(trained, scheme, at_once, monkeypatch):
    monkeypatch.setattr(rows, "_AT_ONCE", at_once)
    everyone = {role: list(ROLES) for role in ROLES}
    nobody = {"planner": [], "decomposer": ["planner"], "solver": ["planner", "decomposer"]}
    apart = dict(zip(ROLES, ROLES, strict=True))
    one = dict.fromkeys(ROLES, "one")
    for students, reads in itertools.product((apart, one), (everyone, nobody)):
        views = rows.make_views(scheme, students, reads)
        encoded = rows.encode_rows(GOLD, scheme, views, trained)
        for student, made in encoded.items():
            own = [view for view in views if view.student == student]
            slow = [slow_row(a, view, scheme, trained) for a in GOLD for view in own]
            assert list(made) == slow
            assert [row.problem for row in made] == [a.id for a in GOLD for _ in own]
            assert made[-1].name.startswith(f"{GOLD[-1].id} ('{GOLD[-1].question[:20]}")


def test_a_text_that_cannot_be_held_is_named_in_any_part(trained, monkeypatch):
    monkeypatch.setattr(rows, "_AT_ONCE", 2)
    wrong = dataclasses.replace(GOLD[4], question="a\ud800")
    views = [View("s", frozenset(["solver"]), (0,))]
    with pytest.raises(UserError, match="unpaired surrogate"):
        rows.encode_rows([*GOLD[:4], wrong], SCHEMES["chain"], views, trained)


def test_rows_in_arrays_are_those_of_a_list():
    some = [Row([5, 6, 7], [-1, 0, 0], "one", "p", "gold"), Row([8, 300], [-1, 2])]
    held = Rows.of(some)
    assert list(held) == some and held[1:] == some[1:] and held[-1] == some[-1]
    assert (held[0].name, held[0].problem, held[0].origin) == ("one", "p", "gold")
    assert Rows.of(held) is held
    with pytest.raises(IndexError):
        held[2]
    dropped = StudentRows([Row([1] * 9, [0] * 9), *some], "s", 3, 0.5)
    assert dropped.dropped == 1 and len(dropped) == 2
    assert [a.tolist() for a in dropped.losses(1)] == [[0], [300], [2]]
    assert dropped.losses(1)[2].dtype == "int32"


def test_loss_tokens_of_more_rows_than_are_counted_at_once():
    some = [Row([1] * (2 + n % 3), [-1] + [0] * (1 + n % 3)) for n in range(9000)]
    source = StudentRows(some, "s", 9, 0.0)
    assert (source.loss_tokens, source.most_loss_tokens) == (18_000, 3)
    assert [len(source.losses(n)[0]) for n in (0, 4095, 4096, 8999)] == [1, 1, 2, 3]


def test_no_part_of_nothing_is_encoded(trained):
    views = [View("s", frozenset(["solver"]), (0,))]
    assert len(rows.encode_rows([], SCHEMES["chain"], views, trained)["s"]) == 0


def test_a_line_of_json_is_that_of_the_record_as_a_dictionary():
    turn = Turn("solver", "4 \u2028", 3, -0.5)
    sample = Sample(0, "4", (turn,), "4", True, {"strict": True}, "finished", -0.5, 3)
    prediction = Prediction(
        "a", "q", "4", "4", (turn,), None, True, {}, "finished", {"n": [1, {}]}, (sample,)
    )
    for record in (*GOLD, prediction):
        line = json.dumps(dataclasses.asdict(record), ensure_ascii=False)
        assert records.to_json(record) == line
    assert records.annotation_from_dict(json.loads(records.to_json(GOLD[0]))) == GOLD[0]


def test_lines_are_read_one_by_one(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "x\xe2\x80\xa8y"}\r\n\n{"a": 2}\n{"a": ')
    lines = records.json_lines(path)
    assert next(lines) == (1, {"a": "x\u2028y"})
    assert next(lines) == (3, {"a": 2})  # before what is wrong is met
    with pytest.raises(UserError, match=r"a\.jsonl:4: not JSON \(Expecting value, column 7\)$"):
        next(lines)
    path.write_bytes(b'{"a": 1}\n' * 5000 + b"\xff")
    with pytest.raises(UserError, match=r"not UTF-8 at byte 45000: save it as UTF-8$"):
        list(records.json_lines(path))
    assert records.count_lines(path) == 5000
    assert records.count_lines(tmp_path / "none") == 0


def test_long_work_is_shown_to_whoever_watches(capsys):
    shown = []

    class Bar:
        def __init__(self, title, total):
            shown.append((title, total))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            shown.append("gone")

        def update(self, done):
            shown.append(done)

    watcher = types.SimpleNamespace(
        progress=lambda title, total, *, passing: Bar(title, total), say=shown.append
    )
    with progress.watched(watcher):
        assert list(progress.each(range(10), "short", 10)) == list(range(10))
        assert sum(progress.each(range(2500), "long", 2500)) == sum(range(2500))
        assert list(progress.each("ab", "parts", 2, of_each=2000)) == ["a", "b"]
        progress.say("a line")
    long = [("long", 2500), 0, 1000, 2000, 2500, "gone"]
    assert shown == [*long, ("parts", 4000), 0, 2000, 4000, "gone", "a line"]
    progress.say("nobody watches")
    assert list(progress.each(range(2000), "nobody watches", 2000)) == list(range(2000))
    with Terminal().watching():
        assert len(list(progress.each(range(5000), "fast", 5000))) == 5000
    assert capsys.readouterr().out == ""  # what is over in seconds leaves no line


def test_a_tokenizer_is_trained_on_so_many_annotations_at_most(monkeypatch):
    made = [Annotation(str(n), "", "", (Step(None, ""),), {}) for n in range(10)]
    assert from_first.evenly_spaced(made) is made
    monkeypatch.setattr(from_first, "TOKENIZER_ROWS", 4)
    assert [each.id for each in from_first.evenly_spaced(made)] == ["0", "2", "5", "7"]


def test_the_benchmark_measures_both_sides_on_the_same_rows(tmp_path):
    """One chain of the file is as long on both sides: all but the border of prompt and answer."""
    write_task(tmp_path, 60, 40)
    ours = data.ours(pathlib.Path(tmp_path), "chain")
    assert ours["problems"] + ours["dropped"] == 60 and ours["overlaps"] >= 2
    assert set(ours["seconds"]) == {"read_and_check", "write", "train_bpe", "encode"}
    bare = data.encoding(pathlib.Path(tmp_path), "chain")
    assert bare["texts"] == 2 * (ours["problems"] - ours["problems"] // 10)  # without those of dev
    if importlib.util.find_spec("trl") is None:
        pytest.skip("TRL is missing: the peer was not run (extra [trl])")
    peer = data.peer(pathlib.Path(tmp_path), 1)
    assert peer["tokens_per_row"] == pytest.approx(ours["tokens_per_row"], rel=0.05)
