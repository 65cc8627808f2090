"""report.html, read back with a parser of its own."""

import dataclasses
import os
import re
import threading

import pytest
from html_page import Page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_jax.dialogues.votes import combine
from distill_jax.evaluation import html_report
from distill_jax.evaluation.summary import Circumstances, summarise
from distill_jax.records import Prediction, Turn

BADGE_OF_STATUS = {
    "unparsed": "unparsable",
    "turn_cap": "unfinished",
    "token_cap": "unfinished",
    "context": "unfinished",
    "prompt_too_long": "unfinished",
}
INJECTION = (
    "</div></details><script>alert('x')</script><img src=x onerror=alert(1)> & <b>\"'{{ 7 }}"
)


def prediction(number, status="finished", correct=False, text="3 + 4 = 7", role="solver"):
    turns = (Turn("decomposer", "How many?", 4, -1.0), Turn(role, text, 9, -2.0))
    return Prediction(
        id=f"test/{number}",
        question=f"Question {number}?",
        answer="7",
        completion=text,
        turns=() if status == "prompt_too_long" else turns,
        prediction=None if status == "unparsed" else "7",
        correct=correct,
        scores={"strict": False, "flexible": correct, "normalised": correct},
        status=status,
        attributes={"steps": number % 3 + 1},
    )


def mixed(n):
    statuses = ["finished", "finished", "finished", *BADGE_OF_STATUS]
    return [prediction(i, statuses[i % 8], correct=i % 8 == 0) for i in range(n)]


def loss(points):
    return html_report.Curve("Training loss", "training loss", points)


def write(path, predictions, **changes):
    guessers, without = changes.pop("guessers", {}), changes.pop("without", ())
    circumstances = Circumstances(
        task=changes.pop("task", "my_task"),
        split="test",
        checkpoint_steps={"decomposer": 20, "solver": 1234},
        identity={"data": {"file": "a.jsonl"}},
        seed=5,
        seconds=2.0,
        sampling={"temperature": 0.0},
    )
    arguments = {
        "summary": {
            key: value
            for key, value in (
                summarise(predictions, guessers, circumstances) | changes.pop("more", {})
            ).items()
            if key not in without
        },
        "curves": [loss({"decomposer": [(1, 2.0), (2, 1.5)], "solver": [(1, 3.0), (2, 1.0)]})],
        "title": "A run",
        "training": {"solver": {"steps": 1234, "tokens": {"fed": 99}}, "decomposer": {"steps": 20}},
    }
    html_report.write_report(path, predictions=predictions, **(arguments | changes))
    return Page(path)


def guesser(accuracy):
    return {"accuracy": accuracy, "correct": 0, "interval": [0.0, 1.0]}


def test_headline_and_facts(tmp_path):
    predictions = [prediction(i, correct=i < 25) for i in range(100)]
    page = write(tmp_path / "report.html", predictions)
    text = re.sub(r"[ \n]+", " ", page.find("main")[0]["text"])
    (headline,) = page.find("p", "headline")
    # 25 of 100: Wilson 0.1755 to 0.3430.
    assert re.findall(r"\d+\.\d", headline["text"]) == ["25.0", "17.5", "34.3"]
    assert "n = 100" in headline["text"]
    for words in ("my_task", "split test", "normalised extractor", "seed 5", "rule “last”"):
        assert words in text
    assert "solver at step 1\u202f234" in text
    for fact in ("tokens.fed", "data.file", "a.jsonl", "temperature", "Turns per problem"):
        assert fact in text


def test_what_was_trained_on_is_named(tmp_path):
    known = {2: "train/7", 5: f"train/8 {INJECTION}"}
    predictions = [
        dataclasses.replace(prediction(i), trained_on=known.get(i, "")) for i in range(6)
    ]
    page = write(tmp_path / "report.html", predictions)
    text = re.sub(r"[ \n]+", " ", page.find("main")[0]["text"])
    assert "trained on 2 of these 6 questions" in text
    assert f"test/2 is train/7, test/5 is train/8 {INJECTION}" in text
    assert "training problems" not in text


def test_training_problems_are_called_so(tmp_path):
    predictions = [prediction(i) for i in range(3)]
    facts = {"training_problems": True, "trained_on": {}}
    page = write(tmp_path / "a.html", predictions, more=facts)
    assert "of the 3 training problems of" in re.sub(r"[ \n]+", " ", page.source)
    # A report of before says nothing of it.
    page = write(tmp_path / "b.html", predictions, without=facts)
    assert "of the 3 problems of" in re.sub(r"[ \n]+", " ", page.source)
    assert "trained on" not in page.source


def test_facts_of_the_training_have_words_and_the_rest_is_folded(tmp_path):
    """What a person reads first has no key; every key and hash is there, one click away."""
    solver = {
        "steps": 1200, "finished_at": 40_000, "best_step": -1, "useful_share": 0.735,
        "flops_per_token": 3_833_663.98, "model": {"layers": 3, "embedding_dropout": 0.0},
        "origins": {"gold": {"row_tokens": 12}}, "sha256": {"annotations.jsonl": 64 * "a"},
    }  # fmt: skip
    page = write(tmp_path / "report.html", [prediction(0)], training={"solver": solver})
    [card] = [p for p in page.find("section", "card") if p["text"].strip().startswith("Training\n")]
    rows = [
        [cell["text"] for tag in ("th", "td") for cell in page.find(tag, inside=row)]
        for row in page.find("tr", inside=card)
    ]
    assert rows[1:] == [
        ["steps planned", "1\u202f200"],
        ["steps trained", "40\u202f000"],
        ["best step on dev", "not measured"],
        ["share of the batches that is not padding", "73.5\u202f%"],
        ["layers", "3"],
    ]
    folded = [d["text"] for d in page.find("details") if "dialogue" not in d["class"]]
    [facts] = [text for text in folded if "All facts of the training" in text]
    for key in (
        "origins.gold.row_tokens",
        "sha256.annotations.jsonl",
        64 * "a",
        "3\u202f833\u202f664",
    ):
        assert key in facts and page.source.count(key) == 1
    assert all("open" not in d for d in page.find("details") if "dialogue" not in d["class"])


def test_one_of_a_thing_is_not_several(tmp_path):
    one = dataclasses.replace(prediction(0), turns=(Turn("solver", "4", 1, -1.0),))
    text = write(tmp_path / "report.html", [one]).find("main")[0]["text"]
    assert "1 token\n" in text and "the 1 problem of" in " ".join(text.split())
    assert not re.search(r"\b1 (tokens|problems|samples)\b", text)
    assert html_report.counted(2000, "token") == "2\u202f000 tokens"


def test_wide_tables_say_that_they_scroll(tmp_path):
    page = write(tmp_path / "report.html", mixed(8))
    tables = page.find("table")
    assert tables and all(
        any("scroll" in parent.get("class", "") for parent in table["parents"]) for table in tables
    )
    for place in page.find("div", "scroll"):
        assert place["tabindex"] == "0"  # by the arrow keys as well
        assert "Scroll sideways" in page.find("p", "hint", inside=place)[0]["text"]


def test_guesser_sentences(tmp_path):
    guessers = {"low": guesser(0.1), "level": guesser(0.3), "high": guesser(0.5)}
    predictions = [prediction(i, correct=i < 25) for i in range(100)]
    page = write(tmp_path / "report.html", predictions, guessers=guessers)
    low, level, high = [item["text"] for item in page.find("li")]
    assert "“low” gets 10.0" in low and "lies above it" in low
    assert "“level” gets 30.0" in level and "does not exclude it" in level
    assert "“high” gets 50.0" in high and "lies below it" in high
    assert len(page.find("div", "bar")) == 6
    widths = [fill["style"] for fill in page.find("i", "fill")]
    assert widths[:2] == ["width: 25.000%", "width: 0.000%"]  # normalised first, then strict


def test_twenty_dialogues_with_their_badges(tmp_path):
    predictions = mixed(400)
    page = write(tmp_path / "report.html", predictions)
    by_id = {p.id: p for p in predictions}
    dialogues = page.dialogues()
    assert len(dialogues) == 20
    kinds = []
    for dialogue in dialogues:
        (badge,) = page.find("span", "badge", dialogue)
        (code,) = page.find("code", "", dialogue)
        shown = by_id[code["text"]]
        word = BADGE_OF_STATUS.get(shown.status, "right" if shown.correct else "wrong")
        assert badge["text"].split()[1] == word
        assert badge["class"] == f"badge {word}"
        kinds.append(word)
        assert shown.question in dialogue["text"]
        assert len(page.find("div", "turn", dialogue)) == len(shown.turns)
        assert ("none could be read" in dialogue["text"]) == (shown.prediction is None)
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(kinds[:4], 5)


def test_choice_fills_up_and_is_stable():
    predictions = [prediction(i) for i in range(50)] + [prediction(50, correct=True)]
    chosen = html_report.choose_dialogues(predictions, 20)
    assert len({p.id for p in chosen}) == 20
    assert chosen[0].id == "test/50"
    assert chosen == html_report.choose_dialogues(predictions, 20)
    assert len(html_report.choose_dialogues(predictions[:3], 20)) == 3
    assert (
        html_report.choose_dialogues([], 20) == html_report.choose_dialogues(predictions, 0) == []
    )


def test_unfinished_but_counted_as_right_says_so(tmp_path):
    page = write(tmp_path / "report.html", [prediction(0, "token_cap", correct=True)])
    (dialogue,) = page.dialogues()
    assert "unfinished" in dialogue["text"]
    assert "counted as right" in dialogue["text"]


def test_every_status_is_counted(tmp_path):
    predictions = [*mixed(8), prediction(8, "context")]
    page = write(tmp_path / "report.html", predictions)
    cells = [[cell["text"] for cell in page.find("td", "", row)] for row in page.find("tr")]
    counts = {row[0]: row[1] for row in cells if len(row) > 1}
    for status, meaning in html_report.STATUS_MEANING.items():
        expected = sum(p.status == status for p in predictions)
        assert counts[status + meaning] == str(expected)
    assert counts["contextstopped because the model's context was full"] == "2"


def voted(answers, number=0):
    """The vote over samples with these answers; 7 is right."""
    return combine(
        [
            dataclasses.replace(prediction(number, correct=answer == "7"), prediction=answer)
            for answer in answers
        ]
    )


def test_votes(tmp_path):
    rows = [voted(["7", "8", INJECTION, None, "7"]), voted(["8", "8", "7", "8", "8"], 1)]
    page = write(tmp_path / "report.html", rows)
    text = re.sub(r"\s+", " ", page.find("main")[0]["text"])
    assert "answered right by majority vote over 5 samples each," in text
    for fact in ("Samples per problem5", "Majority vote, right50.0 %", "on average30.0 %"):
        assert fact in text
    # Of 5 samples 2 and 1 are right: 1 - C(3, k) / C(5, k) and 1 - C(4, k) / C(5, k).
    assert re.findall(r"pass@(\d)(\S+) %", text) == [
        ("1", "30.0"),
        ("2", "55.0"),
        ("4", "90.0"),
        ("5", "100.0"),
    ]
    assert not page.find("script")
    first, second = page.dialogues()
    assert f"7: 2, 8: 1, {INJECTION}: 1, none could be read: 1" in first["text"]
    assert "8: 4, 7: 1" in second["text"]


def test_another_rule_of_votes_is_named(tmp_path):
    rows = [voted(["7", "8", "7"])]
    page = write(tmp_path / "a.html", rows, more={"sampling": {"vote": "length"}})
    text = " ".join(page.find("main")[0]["text"].split())
    assert "answered right by length-filtered vote over 3 samples" in text
    assert "Length-filtered vote, right" in text and "ajority vote" not in text


def test_one_sample_says_nothing_of_votes(tmp_path):
    page = write(tmp_path / "report.html", mixed(8))
    for word in ("vote", "Votes", "pass@", "amples"):
        assert word not in page.source


def test_speakers_have_colours_of_their_own(tmp_path):
    predictions = [prediction(0), prediction(1, role="planner"), prediction(2, role="critic<i>")]
    page = write(tmp_path / "report.html", predictions)
    colors = {}
    for turn in page.find("div", "turn"):
        (role,) = page.find("span", "role", turn)
        colors.setdefault(role["text"], set()).add(turn["class"])
    assert set(colors) == {"decomposer", "solver", "planner", "critic<i>"}
    assert all(len(classes) == 1 for classes in colors.values())
    assert len(set.union(*colors.values())) == 4


def test_text_is_never_markup(tmp_path):
    rows = [prediction(i, text=INJECTION, role=INJECTION) for i in range(3)]
    rows = [Prediction(**{**vars(r), "question": INJECTION, "prediction": INJECTION}) for r in rows]
    page = write(
        tmp_path / "report.html",
        rows,
        task=INJECTION,
        title=INJECTION,
        guessers={INJECTION: guesser(0.1)},
        training={INJECTION: {INJECTION: INJECTION}},
        curves=[html_report.Curve(INJECTION, INJECTION, {INJECTION: [(1, 1.0)]})],
    )
    for tag in ("script", "img"):
        assert not page.find(tag)
    assert [t["text"] for t in page.find("title")] == [INJECTION]
    texts = [element["text"] for element in page.find("div", "text")]
    assert texts.count(INJECTION) == 6
    assert len(page.dialogues()) == 3


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    page = write(tmp_path / "report.html", mixed(40))
    assert "://" not in page.source
    assert "@import" not in page.source
    assert not re.search(r"url\((?!#)", page.source)
    for element in page.elements:
        assert element["tag"] not in {"script", "link", "iframe", "object", "img"}
        assert not any(name.startswith("on") or name == "src" for name in element)
        assert (element.get("href") or "#").startswith("#")
        assert (element.get("xlink:href") or "#").startswith("#")


def test_svg_ids_are_unique_and_references_resolve(tmp_path):
    page = write(tmp_path / "report.html", mixed(40))
    assert len(page.find("svg")) == 2
    ids = [element["id"] for element in page.elements if "id" in element]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", page.source)) <= set(ids)
    assert not re.search(r"#0[147]0[258]", page.source)  # every colour is one of the page's


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    pages = [write(tmp_path / name, mixed(40)) for name in ("a.html", "b.html")]
    assert pages[0].source == pages[1].source


@pytest.mark.parametrize("curves", [{}, {"solver": []}, {"solver": [(1, float("nan"))]}])
def test_nothing_to_show(tmp_path, curves):
    page = write(tmp_path / "report.html", [], curves=[loss(curves)], training=None)
    assert "0 of 0" in page.source
    assert "No guessers were graded" in page.source
    assert page.dialogues() == []


def test_a_figure_for_each_measure_that_was_taken(tmp_path):
    curves = [
        loss({"solver": [(1, 3.0), (2, 1.0)]}),
        html_report.Curve("Reward of the rounds", "reward", {"decomposer": [], "solver": []}),
        html_report.Curve("Preferred answers", "share", {"solver": [(1, 0.5), (2, 1.0)]}),
    ]
    page = write(tmp_path / "report.html", mixed(40), curves=curves)
    headings = [element["text"] for element in page.find("h2")]
    assert {"Training loss", "Preferred answers"} < set(headings)
    assert "Reward of the rounds" not in headings
    assert "aria-label='Share against step: solver'" in page.source


def test_control_characters_are_shown(tmp_path):
    text = "a\x00b\tc\nd\r\ne\rf\x7fg\x85h\u202ei\ud800j\uffffk"
    page = write(tmp_path / "report.html", [prediction(0, text=text)])
    shown = page.find("div", "text")[-1]["text"]
    assert shown == "a␀b\tc\nd\ne␍f␡g⟨U+0085⟩h⟨U+202E⟩i⟨U+D800⟩j⟨U+FFFF⟩k"


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_categories=())), role=st.text(max_size=5))
def test_any_text(tmp_path, monkeypatch, text, role):
    monkeypatch.setattr(
        html_report.figures, "_svg", lambda *_: None
    )  # slow, and not what is tested
    page = write(tmp_path / "report.html", [prediction(0, text=text, role=role)])
    (dialogue,) = page.dialogues()
    assert page.find("div", "text", dialogue)[-1]["text"] == html_report.visible(text)
    assert page.find("span", "role", dialogue)[-1]["text"] == html_report.visible(role)
    html_report.visible(text).encode("utf-8")


def test_a_reader_never_sees_a_part(tmp_path):
    path = tmp_path / "deep" / "report.html"
    write(path, mixed(8))
    before = os.stat(path).st_ino
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            seen.append(path.read_text(encoding="utf-8").endswith("</html>"))

    thread = threading.Thread(target=watch)
    thread.start()
    write(path, mixed(16))
    stop.set()
    thread.join()
    assert seen and all(seen)
    assert os.stat(path).st_ino != before  # another file took its place
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]
