"""StrategyQA: both protocols, facts in their places, a Hub layout, and broken files."""

import json
import os
from collections import Counter

import datasets
import pytest

from distill_jax.annotations.verify import verify
from distill_jax.errors import UserError
from distill_jax.records import Step
from distill_jax.tasks import strategyqa

GIRAFFE = {
    "qid": "a1",
    "term": "Giraffe",
    "description": "Tall African ungulate",
    "question": "Could a giraffe look into a third floor?",
    "answer": False,
    "facts": ["Giraffes are at most 6 m tall.", "A third floor is 7 m  high."],
    "decomposition": [
        "How tall are giraffes?",
        "How high is a third floor?",
        "Is #1 greater than #2?",
    ],
    "evidence": [],
}
OPTIONS = [{"protocol": p, "gold": g} for p in strategyqa.PROTOCOLS for g in strategyqa.GOLD]


def qids_of(protocol):
    """The qids of a protocol's test set, from the package."""
    path = os.path.join(os.path.dirname(strategyqa.__file__), "splits")
    with open(os.path.join(path, f"strategyqa_{protocol}_test.txt")) as file:
        return [line.strip() for line in file if not line.startswith("#")]


def rows_of_both_files(*changed):
    """(train.json, dev.json) with made-up questions under the real qids of the test sets."""
    dev = [GIRAFFE | {"qid": q, "question": f"Is {q} odd?"} for q in qids_of("official")]
    official = set(qids_of("official"))
    others = [q for q in qids_of("ho") if q not in official]
    train = [GIRAFFE | {"qid": q, "question": f"Is {q} odd?"} for q in others]
    return [GIRAFFE, *changed, *train], dev


def write(folder, train, dev):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.json").write_text(json.dumps(train))
    (folder / "dev.json").write_text(json.dumps(dev))
    return str(folder)


def annotation_of(folder, **change):
    """The annotation with subquestions of the giraffe question, changed; None where it has none."""
    train, dev = rows_of_both_files(GIRAFFE | change | {"qid": "a2", "question": "Changed?"})
    directory = write(folder, train, dev)
    annotations = strategyqa.load_annotations("train", directory=directory, gold="decomposition")
    return {a.id: a for a in annotations}.get("strategyqa/a2")


@pytest.fixture(scope="module")
def real():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder of strategyqa/train.json")
    return os.path.join(root, "strategyqa")


def test_problems_and_annotations(tmp_path):
    directory = write(tmp_path, *rows_of_both_files())
    problem = strategyqa.load("train", directory=directory)[0]
    assert problem.id == "strategyqa/a1"
    assert problem.question == "Could a giraffe look into a third floor?"
    assert (problem.answer, problem.split) == ("no", "train")
    assert problem.attributes == {"term": "Giraffe", "steps": 3}
    facts = strategyqa.load_annotations("train", directory=directory)[0]
    assert facts.steps == (
        Step(None, "Giraffes are at most 6 m tall."),
        Step(None, "A third floor is 7 m high."),
    )
    annotation = strategyqa.load_annotations("train", directory=directory, gold="decomposition")[0]
    assert annotation.steps == (
        Step("How tall are giraffes?", "Giraffes are at most 6 m tall."),
        Step("How high is a third floor?", "A third floor is 7 m high."),
        Step("Is #1 greater than #2?", "No."),
    )
    for each in (facts, annotation):
        assert (each.id, each.question, each.answer) == (problem.id, problem.question, "no")
        assert each.source == {"kind": "gold"}


def test_facts_in_another_order_find_their_steps(tmp_path):
    annotation = annotation_of(tmp_path, facts=GIRAFFE["facts"][::-1], answer=True)
    assert annotation is not None
    assert annotation.steps == (
        Step("How tall are giraffes?", "Giraffes are at most 6 m tall."),
        Step("How high is a third floor?", "A third floor is 7 m high."),
        Step("Is #1 greater than #2?", "Yes."),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"facts": [*GIRAFFE["facts"], "Floors are counted from 1."]},  # more facts than steps
        {"facts": GIRAFFE["facts"][:1]},
        {"decomposition": [*GIRAFFE["decomposition"][:2], "Which of #1 and #2 is greater?"]},
        {"facts": ["Giraffes are 6 m tall.", "Storeys have 3 m."]},  # no word in common
        {"facts": ["Giraffes on a third floor are tall.", "Giraffes on a third floor are high."]}
        | {"decomposition": ["Which giraffes?", "Which third?", "Is #1 #2?"]},  # either order
        {"facts": ["Giraffes are at most 6 m tall."], "decomposition": ["Is a giraffe tall?"]},
    ],
)
def test_where_the_facts_cannot_be_told_apart_there_is_no_annotation(tmp_path, change):
    assert annotation_of(tmp_path, **change) is None


def test_protocols(tmp_path):
    train, dev = rows_of_both_files()
    directory = write(tmp_path, train, dev)
    files = {"train": [r["qid"] for r in train], "test": [r["qid"] for r in dev]}
    for options in OPTIONS:
        for split in strategyqa.SPLITS:
            problems = strategyqa.load(split, directory=directory, **options)
            ids = [problem.id.removeprefix("strategyqa/") for problem in problems]
            if options["protocol"] == "official":
                assert ids == files[split]
            elif split == "test":
                assert sorted(ids) == sorted(qids_of("ho"))
                assert len(ids) == 687
            else:
                assert set(ids) == {"a1", *qids_of("official")} - set(qids_of("ho"))
            annotations = strategyqa.load_annotations(split, directory=directory, **options)
            assert [a.id for a in annotations] == [p.id for p in problems]
            assert verify(annotations, problems, strategyqa.grade) == (annotations, [])


def test_a_question_of_the_test_set_is_not_trained_on_under_another_qid(tmp_path):
    question = f"Is {qids_of('ho')[0]} odd?"
    directory = write(tmp_path, *rows_of_both_files(GIRAFFE | {"qid": "b", "question": question}))
    for load in (strategyqa.load, strategyqa.load_annotations):
        train = load("train", directory=directory, protocol="ho")
        assert "strategyqa/b" not in {each.id for each in train}
        test = load("test", directory=directory, protocol="ho")
        assert [each.question for each in test].count(question) == 1


def test_hub_rows_give_the_same_problems(tmp_path, monkeypatch):
    """The splits of the Hub are joined; rows without decomposition are still problems."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    train, dev = rows_of_both_files()
    directory = write(tmp_path / "files", train, dev)
    full, bare = (str(tmp_path / name) for name in ("full", "bare"))
    for hub_id, dropped in ((full, ("evidence",)), (bare, ("evidence", "decomposition"))):
        os.mkdir(hub_id)
        for split, part in (("train", train[:100]), ("test", train[100:] + dev)):
            fields = [{k: v for k, v in row.items() if k not in dropped} for row in part]
            datasets.Dataset.from_list(fields).to_parquet(f"{hub_id}/{split}.parquet")
    for options in OPTIONS:
        for split in strategyqa.SPLITS:
            for load in (strategyqa.load, strategyqa.load_annotations):
                expected = load(split, directory=directory, **options)
                assert load(split, hub_id=full, **options) == expected
    assert strategyqa.load("test", hub_id=bare)[0].attributes == {"term": "Giraffe"}
    assert len(strategyqa.load_annotations("test", hub_id=bare)) == 229
    with pytest.raises(UserError) as caught:
        strategyqa.load_annotations("test", hub_id=bare, gold="decomposition")
    message = str(caught.value)
    assert "bare (test) row " in message
    assert "field 'decomposition' is missing or not a list of texts: set --config.task_" in message


def test_hub_failure_is_one_line_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        strategyqa.load("train", hub_id=str(tmp_path / "empty"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'empty'}: cannot be loaded (")
    assert "--config.task_options.directory to a folder with train.json and dev.json" in message
    assert "\n" not in message


def test_unknown_split_protocol_and_gold(tmp_path):
    for load in (strategyqa.load, strategyqa.load_annotations):
        with pytest.raises(UserError, match="no split 'dev': choose train or test"):
            load("dev", directory=str(tmp_path))
        with pytest.raises(UserError, match=r"protocol 'x': choose official or ho"):
            load("test", directory=str(tmp_path), protocol="x")
        with pytest.raises(UserError, match=r"gold 'x': choose facts or decomposition"):
            load("test", directory=str(tmp_path), gold="x")


def test_missing_directory_and_file(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such directory: set --config\.task_options"):
        strategyqa.load("test", directory=str(tmp_path / "nowhere"))
    directory = write(tmp_path, *rows_of_both_files())
    (tmp_path / "dev.json").unlink()
    with pytest.raises(UserError, match=r"dev\.json: no such file: download it from https"):
        strategyqa.load("train", directory=directory)


def test_missing_test_questions(tmp_path):
    train, dev = rows_of_both_files()
    directory = write(tmp_path, train, dev[1:])
    with pytest.raises(UserError, match=r"1 of the 229 test questions of protocol 'official' are"):
        strategyqa.load("train", directory=directory)
    write(tmp_path, train[:1], dev)
    with pytest.raises(UserError, match=r"[0-9]+ of the 687 test questions of protocol 'ho' are"):
        strategyqa.load("test", directory=directory, protocol="ho")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"qid": None}, "field 'qid' is missing"),
        ({"term": 1}, "field 'term' is missing or not text"),
        ({"question": " "}, "field 'question' is missing"),
        ({"answer": "yes"}, "field 'answer' is neither true nor false"),
        ({"answer": None}, "field 'answer' is neither true nor false"),
        ({"decomposition": "How?"}, "field 'decomposition' is missing or not a list of texts"),
        ({"decomposition": []}, "field 'decomposition' is missing or not a list of texts"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, said):
    directory = write(tmp_path, *rows_of_both_files(GIRAFFE | {"qid": "a2"} | change))
    for load in (strategyqa.load, strategyqa.load_annotations):
        with pytest.raises(UserError) as caught:
            load("test", directory=directory)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / 'train.json'} row 1: {said}")
        assert strategyqa.URL in message


@pytest.mark.parametrize("facts", [None, [], "A fact.", [""], [1]])
def test_broken_facts_are_named(tmp_path, facts):
    directory = write(tmp_path, *rows_of_both_files(GIRAFFE | {"qid": "a2", "facts": facts}))
    assert len(strategyqa.load("test", directory=directory)) == 229
    with pytest.raises(UserError, match=r"train\.json row 1: field 'facts' is missing or not a"):
        strategyqa.load_annotations("train", directory=directory)


def test_a_qid_that_is_there_twice(tmp_path):
    directory = write(tmp_path, *rows_of_both_files(GIRAFFE))
    with pytest.raises(UserError, match="id 'strategyqa/a1' occurs twice"):
        strategyqa.load("train", directory=directory)


def test_grade():
    grade = strategyqa.grade("No.\n#### no", "no")
    assert grade.prediction == "no"
    assert len(grade.scores) == 4 and all(grade.scores.values())


@pytest.mark.parametrize(
    ("protocol", "split", "count", "yes", "with_subquestions"),
    [
        ("official", "train", 2061, 964, 603),
        ("official", "test", 229, 107, 73),
        ("ho", "train", 1602, 744, 470),
        ("ho", "test", 687, 326, 206),
    ],
)
def test_real_annotations(real, protocol, split, count, yes, with_subquestions):
    options = {"directory": real, "protocol": protocol}
    problems = strategyqa.load(split, **options)
    assert len(problems) == count
    assert Counter(p.answer for p in problems) == {"yes": yes, "no": count - yes}
    facts = strategyqa.load_annotations(split, **options)
    assert [a.id for a in facts] == [p.id for p in problems]
    assert verify(facts, problems, strategyqa.grade) == (facts, [])
    annotations = strategyqa.load_annotations(split, **options, gold="decomposition")
    assert len(annotations) == with_subquestions
    assert verify(annotations, problems, strategyqa.grade) == (annotations, [])
    by_id = {a.id: a for a in facts}
    for annotation in annotations:
        solutions = [step.solution for step in annotation.steps]
        assert sorted(solutions[:-1]) == sorted(s.solution for s in by_id[annotation.id].steps)
        assert solutions[-1] == f"{annotation.answer.capitalize()}."


def test_real_splits_are_the_published_ones(real):
    """Of the question with two qids, Ho et al. have one in training and one in test."""
    twice = {"8a5edfb7385edb776926", "cb900171acc9047115b4"}
    with open(os.path.join(real, "splits_derived.json")) as file:
        published = json.load(file)  # both qids are in both of Ho et al.'s lists there
    names = {
        ("official", "train"): "official_train2061",
        ("official", "test"): "official_dev229",
        ("ho", "train"): "reasoning_teacher_train1603",
        ("ho", "test"): "reasoning_teacher_test687",
    }
    for (protocol, split), name in names.items():
        problems = strategyqa.load(split, directory=real, protocol=protocol)
        qids = {problem.id.removeprefix("strategyqa/") for problem in problems}
        assert qids - twice == set(published[name]) - twice
        expected = {"official": {"train": 2, "test": 0}, "ho": {"train": 0, "test": 1}}
        assert len(qids & twice) == expected[protocol][split]


@pytest.mark.parametrize("protocol", strategyqa.PROTOCOLS)
def test_real_training_questions_are_not_in_the_test_set(real, protocol):
    train, test = (
        {p.question.casefold() for p in strategyqa.load(s, directory=real, protocol=protocol)}
        for s in strategyqa.SPLITS
    )
    assert not train & test


def test_real_rows_that_could_have_subquestions(real):
    """The counts that the module's docstring gives on the way to 603 + 73 annotations."""
    rows = []
    for name in ("train.json", "dev.json"):
        with open(os.path.join(real, name)) as file:
            rows += json.load(file)
    one_fact_per_step = [r for r in rows if len(r["decomposition"]) == len(r["facts"]) + 1]
    assert (len(rows), len(one_fact_per_step)) == (2290, 883)
    asks_yes_or_no = strategyqa._YES_NO_QUESTION.match
    assert sum(asks_yes_or_no(r["decomposition"][-1]) is not None for r in one_fact_per_step) == 868
