"""What goes wrong at a teacher's server, and what is said of it."""

import json

import pytest
from asked_teacher import Quiet, ask, number_of, problems_of, right
from scripted_server import Act, ScriptedServer

from distill_jax.errors import PeerGone, UserError

NO_CREDIT = {
    "402": Act(status=402),
    "429 of OpenAI": Act(status=429, message={"code": "insufficient_quota"}),
    "400 in words": Act(status=400, message={"message": "Your credit balance is too low"}),
    "200 that says 402": Act(body=b'{"error": {"message": "Insufficient credits", "code": 402}}'),
}


@pytest.mark.parametrize("act", NO_CREDIT.values(), ids=NO_CREDIT)
def test_an_account_that_is_used_up_ends_the_asking_and_keeps_what_was_answered(act, tmp_path):
    """What was sent already is waited for: it has to be paid for."""
    terminal = Quiet()

    def reply(request, _):
        n = number_of(request)
        if n == 10:
            return act
        return Act(text=right(request), wait_s=0.8 if n == 9 else 0.0)

    with ScriptedServer(reply) as server:
        with pytest.raises(UserError, match=r"is used up .* add credit and run the same command"):
            ask(server, tmp_path, problems_of(200), terminal, concurrency=2)
        assert server.requests <= 12
        assert any("answers are in" in line for line in terminal.said)
        before = server.requests
        # The slow one was answered after the account was used up, and is there.
        ask(server, tmp_path, problems_of(10))
        assert server.requests == before


def test_a_time_out_says_how_many_wait_and_what_to_raise(tmp_path):
    terminal = Quiet()

    def reply(request, number):
        return Act(text=right(request), wait_s=600.0 if number == 0 else 0.0)

    with ScriptedServer(reply) as server:
        kept, _ = ask(server, tmp_path, problems_of(3), terminal, timeout_s=1.0, concurrency=3)
    assert len(kept) == 3
    [line] = [line for line in terminal.said if "no answer within" in line]
    assert "no answer within 1 s (attempt 1 of 6): 3 requests wait, 0 answered so far" in line
    assert "raise --config.teacher.timeout_s=1, or lower --config.teacher.concurrency=3" in line


def test_a_server_that_is_always_too_slow_names_the_keys(tmp_path):
    with (
        ScriptedServer(lambda r, _: Act(text=right(r), wait_s=600.0)) as server,
        pytest.raises(PeerGone, match=r"quicker, or raise --config.teacher.timeout_s=0.5"),
    ):
        ask(server, tmp_path, problems_of(6), timeout_s=0.5, retries=0)


NO_ANSWERS = {
    "error": b'{"error": {"message": "no route"}}',
    "error as text": b'{"error": "no route"}',
    "html": b"<!doctype html><html><body>Sign in</body></html>",
    "null choices": b'{"id": "x", "choices": null}',
    "no choices": b'{"choices": []}',
    "list": b"[]",
    "nothing": b"",
    "no message": b'{"choices": [{"index": 0}]}',
    "null choice": b'{"choices": [null]}',
    "deep": b"[" * 100_000,
}


CASES = [*((name, 0) for name in NO_ANSWERS), ("html", 5)]


@pytest.mark.parametrize("name, retries", CASES)
def test_status_200_without_an_answer_is_a_wrong_address(name, retries, tmp_path):
    with (
        ScriptedServer(lambda r, _: Act(body=NO_ANSWERS[name])) as server,
        pytest.raises(UserError, match=r"look at config\.teacher\.base_url, which usually ends"),
    ):
        ask(server, tmp_path, problems_of(1), retries=retries)
    assert server.requests == min(1 + retries, 3)


def test_a_body_that_is_no_answer_in_mid_run_is_a_fault_of_that_moment(tmp_path):
    bodies = list(NO_ANSWERS.values())

    def reply(request, number):
        n = number_of(request)
        broken = n and number == 0
        # The first problem is answered before the others are not.
        act = Act(body=bodies[n % len(bodies)], wait_s=1.0)
        return act if broken else Act(text=right(request))

    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems_of(10), concurrency=10)
    assert len(kept) == 10 and not rejected


def test_refusals_in_a_row_end_the_asking_even_after_answers(tmp_path):
    def reply(request, _):
        return Act(text=right(request)) if number_of(request) < 5 else Act(status=404)

    with (
        ScriptedServer(reply) as server,
        pytest.raises(UserError, match=r"refuses the requests .* look at config\.teacher\.model"),
    ):
        ask(server, tmp_path, problems_of(100), concurrency=1)
    assert server.requests == 15


def test_a_moderated_question_is_not_a_wrong_key(tmp_path):
    def reply(request, _):
        return Act(status=403) if number_of(request) == 2 else Act(text=right(request))

    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems_of(5), concurrency=1)
    assert len(kept) == 4 and [each.reason for each in rejected] == ["refused"]


@pytest.mark.parametrize("status", [200, 400, 401, 402, 500])
def test_a_server_that_repeats_the_key_does_not_make_us_print_it(status, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", " sk-very-secret\r\n")
    body = json.dumps({"error": {"message": "x" * 130 + " Bearer sk-very-secret is wrong"}})
    act = Act(status=status, body=body.encode())
    terminal = Quiet()
    with ScriptedServer(lambda r, _: act) as server:
        with pytest.raises((UserError, PeerGone)) as raised:
            ask(server, tmp_path, problems_of(6), terminal, retries=0)
        assert server.requests
    written = [path.read_text() for path in tmp_path.iterdir()]
    for text in (str(raised.value), *terminal.said, *written):
        assert "sk-very" not in text


@pytest.mark.parametrize("key", ["sk-very secret", "sk-very\nsecret", "sk-v\u00e9ry", "sk-\x7f"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(key, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        with pytest.raises(UserError, match="OPENAI_API_KEY holds a space") as raised:
            ask(server, tmp_path, problems_of(1))
        assert server.requests == 0
    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/no/such/file"), ("ALL_PROXY", "ftp://proxy"), ("http_proxy", "ftp://x"),
        ("OPENAI_ORG_ID", "org\nsecret"), ("OPENAI_PROJECT_ID", "proj\u00e9"),
    ],
)  # fmt: skip
def test_variables_that_name_nothing_are_named_themselves(name, value, tmp_path, monkeypatch):
    monkeypatch.setenv(name, value)
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        with pytest.raises(UserError, match=name) as raised:
            ask(server, tmp_path, problems_of(1))
        assert server.requests == 0
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)


def test_no_password_of_an_address_is_printed(tmp_path):
    with ScriptedServer(lambda r, _: Act(status=402)) as server:
        address = server.url.replace("http://", "http://me:sk-secret@") + "?key=sk-other"
        with pytest.raises(UserError, match=server.url) as raised:
            ask(server, tmp_path, problems_of(1), base_url=address)
    assert "sk-" not in str(raised.value)
