"""Asking a teacher: a real loopback server with every fault that servers have."""

import asyncio
import collections
import random
import re
import time

import pytest
from asked_teacher import SETTINGS, Quiet, ask, number_of, problems_of, right
from scripted_server import Act, ScriptedServer, question_of

from distill_jax.annotations.verify import verify
from distill_jax.errors import PeerGone, UserError
from distill_jax.run.teacher_annotations import (
    make_conversation,
    make_questions,
    teacher_annotations,
)
from distill_jax.tasks.grading import grade_number
from distill_jax.teacher.cache import AnswerCache
from distill_jax.teacher.pace import Pace
from distill_jax.teacher.settings import Spending, TeacherSettings
from distill_jax.text.transcript import SCHEMES

# One fault out of these, or an answer, at every attempt; 30 % are faults.
FAULTS = (
    Act(status=429, headers={"retry-after": "0.05"}),
    Act(status=429),
    Act(status=500),
    Act(status=503),
    Act(wait_s=600.0, text="too late"),  # never comes: the client must have given up
    Act(drop=True),
    Act(body=b'{"choices": [{"message": {"con'),
    Act(body=b"<html>busy</html>"),
    Act(body=b'{"choices": []}'),
    Act(body=b'{"error": {"message": "overloaded", "code": 529}}'),
)
FINAL = {
    "content filter": Act(finish_reason="content_filter"),
    "truncated": Act(text="Q: What", finish_reason="length"),
    "refused": Act(status=400),
    "wrong answer": Act(text="Q: What?\nA: It is 2.\n#### -5"),
    "no answer": Act(text="I cannot help with that."),
    "no text": Act(text=None),
}


def scripted(n, attempt):
    """(what becomes of it, act) of problem n at its attempt; the same in server and test."""
    draw = random.Random(f"{n}/{attempt}")
    if n % 97 == 5:
        return "never", FAULTS[n % 4]
    if draw.random() < 0.3:
        return "again", draw.choice(FAULTS)
    reason = [*FINAL, *["kept"] * 35][random.Random(n).randrange(40)]
    return reason, FINAL.get(reason)


def outcome(n, retries):
    for attempt in range(retries + 1):
        result, _ = scripted(n, attempt)
        if result not in ("again", "never"):
            return result
    return "no answer"


def test_every_problem_ends_once_whatever_the_server_does(tmp_path):
    """2,000 problems, 30 % of the requests fail in ten ways, some problems always."""
    problems = problems_of(2000)

    def reply(request, attempt):
        act = scripted(number_of(request), attempt)[1]
        return act or Act(text=right(request))

    with ScriptedServer(reply) as server:
        annotations, rejected = ask(server, tmp_path, problems, timeout_s=4.0)
        requests, keys = server.requests, server.keys
    kept, wrong = verify(annotations, problems, grade_number)
    ends = {a.id: "kept" for a in kept}
    for each in [*rejected, *wrong]:
        assert each.id not in ends
        ends[each.id] = each.reason
    assert ends == {p.id: outcome(n, 5) for n, p in enumerate(problems)}
    assert len(set(ends.values())) == 7 and all(each.reason for each in rejected)
    assert max(keys.values()) <= 6  # 1 + retries
    assert requests == sum(keys.values())
    # What needs no second attempt got none.
    once = [n for n in range(2000) if scripted(n, 0)[0] not in ("again", "never")]
    counts = {number_of({"prompt": key.decode()}): count for key, count in keys.items()}
    assert all(counts[n] == 1 for n in once)


def test_answers_are_asked_for_once_and_failed_or_cut_ones_again(tmp_path):
    acts = {1: Act(finish_reason="length", text="Q: a"), 2: Act(finish_reason="content_filter")}
    problems = problems_of(4)
    with ScriptedServer(lambda r, _: acts.get(number_of(r)) or Act(text=right(r))) as server:
        first = ask(server, tmp_path, problems)
        asked = [number_of(body) for body in server.bodies]
        second = ask(server, tmp_path, problems)
        again = [number_of(body) for body in server.bodies[len(asked) :]]
        acts.clear()
        third = ask(server, tmp_path, problems)
        assert ask(server, tmp_path, problems) == third and server.requests == 8
    assert sorted(asked) == [0, 1, 2, 3] and sorted(again) == [1, 2]
    assert first == second and [each.reason for each in first[1]] == ["truncated", "content filter"]
    assert len(third[0]) == 4 and third[1] == []
    source = third[0][0].source
    assert source | {"prompt_hash": "", "completion_tokens": 0} == {
        "kind": "teacher",
        "model": "scripted",
        "prompt": "generic/socratic_zero",
        "prompt_hash": "",
        "sample": 0,
        "temperature": 0.0,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 0,
    }


def test_another_prompt_or_parameter_is_another_question(tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        ask(server, tmp_path, problems_of(1))
        for changes in ({"temperature": 0.5}, {"top_p": -1.0}, {"prompt": "socratic"}):
            before = server.requests
            ask(server, tmp_path, problems_of(1), **changes)
            assert server.requests == before + 1
        ask(server, tmp_path, problems_of(1), concurrency=1, retries=0)
        assert server.requests == before + 1


def test_a_teacher_that_is_gone_ends_the_run_and_keeps_what_it_answered(tmp_path):
    problems = problems_of(40)

    def reply(request, _):
        return Act(text=right(request)) if number_of(request) < 10 else Act(status=503)

    with (
        ScriptedServer(reply) as server,
        pytest.raises(PeerGone, match=r"does not answer \(503 .*same command again"),
    ):
        ask(server, tmp_path, problems, retries=1, concurrency=4)
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        kept, _ = ask(server, tmp_path, problems)
        assert sorted(map(number_of, server.bodies)) == list(range(10, 40))
    assert len(kept) == 40
    gone = server
    with pytest.raises(PeerGone, match="no connection"):
        ask(gone, tmp_path / "other", problems, retries=1)


@pytest.mark.parametrize("answered", [True, False])
def test_a_problem_that_always_fails_does_not_end_the_run_even_as_the_last_one(answered, tmp_path):
    """Nothing else is asked at the same time, so that no other answer shows that all is well."""

    def reply(request, _):
        return Act(status=500) if number_of(request) >= 2 else Act(text=right(request))

    problems = problems_of(4)[0 if answered else 2 :]
    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems, concurrency=1, retries=1)
    assert len(kept) == (2 if answered else 0)
    assert [(each.id, each.reason) for each in rejected] == [
        (f"add/train/{n}", "no answer") for n in (2, 3)
    ]
    assert "500" in rejected[0].detail and "2 attempts" in rejected[0].detail


@pytest.mark.parametrize(
    ("status", "message"), [(401, "refuses the key"), (404, "refuses the requests"), (400, "extra")]
)
def test_what_is_wrong_in_the_config_ends_at_once(status, message, tmp_path):
    with (
        ScriptedServer(lambda r, _: Act(status=status)) as server,
        pytest.raises(UserError, match=message),
    ):
        ask(server, tmp_path, problems_of(50), concurrency=1)
    assert server.requests <= 3


def test_a_long_wait_that_the_server_asks_for_is_said(tmp_path):
    act = Act(status=429, headers={"retry-after": "86400"})
    with ScriptedServer(lambda r, _: act) as server, pytest.raises(PeerGone, match="wait 86400 s"):
        ask(server, tmp_path, problems_of(3))


def test_retry_after_holds_everybody_back(tmp_path):
    times = collections.defaultdict(list)
    began = time.monotonic()

    def reply(request, attempt):
        times[number_of(request)].append(time.monotonic() - began)
        if number_of(request) == 0 and attempt == 0:
            return Act(status=429, headers={"retry-after": "1"})
        return Act(text=right(request), wait_s=0.05)

    with ScriptedServer(reply) as server:
        ask(server, tmp_path, problems_of(12), concurrency=2)
    told = times[0][0]
    # One other request may have been on its way.
    early = [t for n, all_times in times.items() for t in all_times if told < t < told + 0.95]
    assert len(early) <= 1


def test_completions_are_cut_where_the_next_problem_would_begin(tmp_path):
    """A server that ignores `stop` writes on until its tokens are used up."""

    def reply(request, _):
        assert "messages" not in request and request["stop"] == ["\nProblem:"]
        return Act(text=right(request) + "\nProblem: What is 9?", finish_reason="length")

    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems_of(3), api="completions")
    assert [a.answer for a in kept] == ["1", "2", "3"] and not rejected


def test_zero_shot_chain_of_thought_is_two_calls(tmp_path):
    def reply(request, _):
        if question_of(request).startswith("Therefore"):
            assert request["messages"][-2] == {"role": "assistant", "content": "0+1 is 1."}
            return Act(text=" 1.")
        return Act(text="0+1 is 1.")

    with ScriptedServer(reply) as server:
        [annotation], _ = ask(server, tmp_path, problems_of(1), prompt="zero_shot_cot")
    assert server.requests == 2
    assert annotation.answer == "1" and annotation.steps[0].solution == "0+1 is 1."
    assert annotation.source["prompt_tokens"] == 200


def test_a_unified_student_is_asked_turn_by_turn(tmp_path):
    turns = ["What is 2 * 3?", "2 * 3 = 6", "And 1 more?", "6 + 1 = 7\n#### 7"]

    def reply(request, _):
        said = [message["content"] for message in request["messages"]]
        assert said[1:] == turns[: len(said) - 1]
        return Act(text=turns[len(said) - 1])

    with ScriptedServer(reply) as server:
        [annotation], _ = ask(server, tmp_path, problems_of(1), prompt="student")
    assert [(s.subquestion, s.solution) for s in annotation.steps] == [
        ("What is 2 * 3?", "2 * 3 = 6"),
        ("And 1 more?", "6 + 1 = 7"),
    ]
    assert annotation.answer == "7" and server.requests == 4


def test_samples_are_requests_of_their_own_and_equal_ones_are_warned_of(tmp_path):
    terminal = Quiet()
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        kept, _ = ask(server, tmp_path, problems_of(2), terminal, samples=3, temperature=0.7)
        assert server.requests == 6 and all("n" not in body for body in server.bodies)
        assert any("all samples of every problem are the same" in line for line in terminal.said)
    assert [(a.id, a.source["sample"]) for a in kept] == [
        (f"add/train/{n}", s) for n in range(2) for s in range(3)
    ]
    terminal, drawn = Quiet(), iter(range(100))

    def varied(request, _):
        return Act(text=right(request).replace("What", f"Now {next(drawn)}, what"))

    with ScriptedServer(varied) as server:
        ask(server, tmp_path, problems_of(2), terminal, samples=3, temperature=0.8)
    assert not any("all samples of every problem" in line for line in terminal.said)


def test_first_prompt_calls_and_price_are_said_before_anything_is_sent(tmp_path):
    terminal = Quiet()
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        ask(server, tmp_path, problems_of(1))
        prices = {"price_input": 1000.0, "price_output": 2000.0}
        ask(server, tmp_path, problems_of(4), terminal, **prices)
        [body] = [b for b in server.bodies if number_of(b) == 1]
    first, estimate = terminal.said[0], terminal.said[1]
    for message in body["messages"]:
        assert f"[{message['role']}]\n{message['content']}" in first
    # One cached answer: 100 prompt tokens, and as many written as its text has characters / 4.
    written = len(right(body).replace("1", "0", 1)) // 4
    assert "3 calls to scripted are left (1 of 4 samples are in the cache)" in estimate
    assert f"about {3 * written} if" in estimate and "at most 768 tokens" in estimate
    assert "about 300 prompt tokens" in estimate
    about, most = 0.3 + 2 * 3 * written / 1000, 0.3 + 2 * 768 / 1000
    assert estimate.endswith(f"cost about {about:,.2f}, at most {most:,.2f}")


def test_nothing_is_sent_without_consent(tmp_path, monkeypatch):
    settings = {"base_url": "http://127.0.0.1:9/v1", "cache_dir": str(tmp_path)}
    settings = TeacherSettings(**(SETTINGS | settings))
    conversation = make_conversation(settings, "my_task", SCHEMES["chain"])
    arguments = settings, conversation, make_questions(problems_of(2), [])
    with pytest.raises(UserError, match="2 calls would be sent: give --yes"):
        teacher_annotations(*arguments, Spending(allowed=True), Quiet())
    kept, rejected = teacher_annotations(*arguments, Spending(), Quiet())
    assert kept == [] and [each.reason for each in rejected] == ["not asked", "not asked"]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    arguments = TeacherSettings(**(SETTINGS | {"cache_dir": str(tmp_path)})), *arguments[1:]
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        teacher_annotations(*arguments, Spending(allowed=True, yes=True), Quiet())


@pytest.mark.parametrize("url", ["localhost:8000", "me:sk-x@localhost:8000", "http://", "http://["])
def test_an_address_that_is_none_is_said_before_anything_is_sent(url, tmp_path):
    shown = re.escape(url.removeprefix("me:sk-x@"))
    with pytest.raises(UserError, match=rf"base_url='{shown}' .* http://localhost:8000/v1"):
        ask(type("Nowhere", (), {"url": url}), tmp_path, problems_of(1))


def test_a_prompt_without_subquestions_is_refused_for_a_scheme_with_them(tmp_path):
    settings = TeacherSettings(**(SETTINGS | {"prompt": "cot", "cache_dir": str(tmp_path)}))
    with pytest.raises(UserError, match="asks for no subquestions"):
        make_conversation(settings, "my_task", SCHEMES["socratic"])


@pytest.mark.parametrize("extra", ["no", "[1]", '{"temperature": 1}', '{"n": 4}'])
def test_extra_parameters_are_checked(extra, tmp_path):
    settings = TeacherSettings(**(SETTINGS | {"extra": extra, "cache_dir": str(tmp_path)}))
    with pytest.raises(UserError, match=r"config\.teacher\.extra"):
        make_conversation(settings, "my_task", SCHEMES["chain"])


def test_extra_parameters_and_the_key_are_sent_and_the_key_is_kept_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        ask(server, tmp_path, problems_of(1), extra='{"seed": 7}')
    assert server.bodies[0]["seed"] == 7
    [cache] = tmp_path.iterdir()
    assert "sk-secret" not in cache.read_text()


def test_requests_and_tokens_per_minute_are_spaced_evenly():
    async def send(pace, tokens, count):
        began = time.monotonic()
        await asyncio.gather(*(pace.turn(tokens) for _ in range(count)))
        return time.monotonic() - began

    assert 0.45 <= asyncio.run(send(Pace(1200, 0), 5, 10)) < 0.9  # 9 gaps of 0.05 s
    assert 0.45 <= asyncio.run(send(Pace(0, 6000), 10, 6)) < 0.9  # 5 gaps of 0.1 s
    assert asyncio.run(send(Pace(0, 0), 10, 1000)) < 0.3


def test_the_cache_repairs_a_torn_line_and_passes_over_damaged_ones(tmp_path):
    said = []
    row = {"complete": True, "text": "é\u2028", "finish_reason": "stop", "sample": 0}
    requests = [{"prompt": name} for name in "abcd"]
    with AnswerCache(str(tmp_path), "a/b c", said.append) as cache:
        for request in requests[:2]:
            cache.put(row | {"request": request})
        with (
            pytest.raises(UserError, match="in use by another process"),
            AnswerCache(str(tmp_path), "a/b c", said.append),
        ):
            pass
    lines = cache.path.read_bytes().split(b"\n")
    cache.path.write_bytes(lines[0] + b"\nnot json\n" + lines[1] + b"\n" + lines[0][:20])
    with AnswerCache(str(tmp_path), "a/b c", said.append) as cache:
        assert len(cache) == 2 and cache.get(requests[1], 0) == row | {"request": requests[1]}
        cache.put(row | {"request": requests[2]})
        cache.put(row | {"request": requests[3], "complete": False})
    assert "torn" in said[0] and "1 damaged lines" in said[1]
    with AnswerCache(str(tmp_path), "a/b c", said.append) as cache:
        assert len(cache) == 3 and cache.get(requests[3], 0) is None
        assert cache.get(requests[2], 0)["text"] == "é\u2028"
    assert AnswerCache(str(tmp_path), "a/b-c", said.append).path != cache.path
