"""The page of `ask --serve` in a real browser: Chromium without a window, driven by Playwright.

What is typed and what the students say holds HTML that a browser would run (hostile_students.py).
"""

import os
import shutil
import threading

import ask_server
import pytest
from hostile_students import QUESTION, SOLUTION, SUBQUESTION

import distill_jax
from distill_jax.ask.guard import LOOPBACK
from distill_jax.ask.server import make_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="no Playwright: pip install 'distill-jax[dev]'"
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")

HTML = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def address(hostile_workdir):
    with ask_server.process(hostile_workdir) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def browser():
    # Chromium's sandbox does not run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page on which nothing fails but refused requests, and that loads nothing from elsewhere."""
    page, said, loaded = browser.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(address)
    # Not wait_for_function: the page allows no eval, to nobody.
    page.locator("#about", has_text="step").wait_for()
    yield page
    assert page.title() == "Ask the students"
    assert page.locator("img").count() == 0
    assert [text for text in said if "status of 400" not in text] == []
    assert all(url.startswith(address) for url in loaded)
    page.close()


def ask(page, question):
    page.fill("#question", question)
    page.click("#ask")
    wait_for_end(page)


def wait_for_end(page):
    """The answer is there, and so is the end of what the server sends: then turns can be edited."""
    page.wait_for_selector("#answer:not([hidden])")
    page.wait_for_selector("#ask:enabled")


def words(page):
    """What is shown of every turn that says something."""
    return [element.text_content() for element in page.locator("#turns .words").all()]


def test_a_dialogue_and_an_edited_subquestion(page):
    assert page.text_content("#about") == "students: decomposer at step 150, solver at step 150"
    ask(page, QUESTION)
    assert words(page) == [SUBQUESTION, SOLUTION, "And then?", "It is 5.\n#### 5"]
    roles = [element.text_content() for element in page.locator("#turns .role").all()]
    assert roles[:4] == ["decomposer", "solver"] * 2
    assert roles[4:] == ["decomposerends the dialogue"]
    assert page.text_content("#answer b") == "5"

    page.locator("#turns .edit").nth(2).click()
    area = page.locator("#turns textarea")
    assert area.input_value() == "And then?"
    area.fill(f"And {HTML}?")
    page.get_by_role("button", name="Continue from here").click()
    wait_for_end(page)
    after = words(page)
    assert after[:3] == [SUBQUESTION, SOLUTION, f"And {HTML}?"] and len(after) > 3
    edited = page.locator("#turns .turn").nth(2)
    assert edited.locator(".role").text_content() == "decomposeredited by you"
    assert page.locator("#turns small", has_text="edited by you").count() == 1


def test_an_empty_last_turn_ends_the_dialogue_before_the_connection_ends(
    browser, hostile_workdir, monkeypatch
):
    students, end = distill_jax.load(hostile_workdir), threading.Event()
    answer = students.answer

    def held_open(*questions, **settings):
        yield from answer(*questions, **settings)
        assert end.wait(60)

    monkeypatch.setattr(students, "answer", held_open)
    with ask_server.thread(make_app(students, "students", LOOPBACK)) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#about", has_text="step").wait_for()
        page.fill("#question", QUESTION)
        page.click("#ask")
        page.wait_for_selector("#answer:not([hidden])")
        try:
            assert page.locator("#ask").is_disabled()
            assert words(page) == [SUBQUESTION, SOLUTION, "And then?", "It is 5.\n#### 5"]
            last = page.locator("#turns .role").last.text_content()
            assert last == "decomposerends the dialogue"
        finally:
            end.set()
        wait_for_end(page)
        page.close()


def test_probabilities_are_shown_at_a_word_and_at_a_turn(page):
    ask(page, QUESTION)
    page.locator("#turns .piece").first.hover()
    tip = page.locator("#tip")
    assert tip.is_visible() and " %   log-probability \N{MINUS SIGN}" in tip.text_content()
    page.locator("#turns .sum").nth(1).hover()
    assert "probability of the whole turn" in tip.text_content()
    assert page.locator(".sum").first.text_content().startswith("log p ")
    assert "log p is the natural logarithm" in " ".join(page.text_content("#legend").split())
    page.locator("h1").hover()
    assert not tip.is_visible()


def test_a_question_is_shown_as_text(page):
    page.fill("#question", f"{HTML} {QUESTION}")
    page.press("#question", "Enter")
    wait_for_end(page)
    assert page.text_content("#asked") == f"{HTML} {QUESTION}"
    assert page.text_content("#unfamiliar").startswith("Note: this question may be unlike what")
    ask(page, QUESTION)
    page.wait_for_selector("#unfamiliar", state="hidden")


def test_mistakes_are_said(page):
    page.fill("#question", "long " * 200)
    page.click("#ask")
    page.wait_for_selector("#status.error")
    assert "the students read at most 160: shorten it" in page.text_content("#status")
    page.fill("#question", "")
    page.click("#example")
    assert page.input_value("#question").startswith("What is ")


def test_stop(page):
    """The answer is held back by the browser, so that there is something to stop."""
    page.route("**/solve", lambda route: None)
    page.fill("#question", QUESTION)
    page.click("#ask")
    page.click("#stop")
    page.get_by_text("Stopped.", exact=True).wait_for()
    assert page.locator("#ask").is_enabled() and page.locator("#stop").is_hidden()
    page.unroute("**/solve")
    ask(page, QUESTION)
    assert words(page)[0] == SUBQUESTION


def test_the_dialogue_of_a_larger_run_follows_that_of_the_small_one(
    browser, hostile_workdir, tiny_run
):
    students = distill_jax.load(hostile_workdir)
    app = make_app(students.cascade(tiny_run[0], threshold=-1), "students", LOOPBACK)
    with ask_server.thread(app) as port:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.locator("#about", has_text="tiny_run is asked if the uncertainty").wait_for()
        ask(page, QUESTION)
        first = [element.text_content() for element in page.locator("#first .words").all()]
        assert first[:2] == [SUBQUESTION, SOLUTION]
        assert page.text_content("#asks").endswith(", above -1: asks tiny_run ...")
        assert words(page)[0] != SUBQUESTION
        assert page.text_content("#by").startswith("Answered by tiny_run (uncertainty (answer) ")
        assert page.locator("#first .edit").count() == 0
        page.locator("#turns .edit").first.click()
        page.locator("#turns textarea").fill("How many?")
        page.get_by_role("button", name="Continue from here").click()
        wait_for_end(page)
        assert words(page)[0] == "How many?"
        assert page.locator("#asks").is_hidden() and page.locator("#by").is_hidden()
        page.close()
