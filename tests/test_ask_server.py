"""The server of `ask --serve`: OpenAI's interface by its own SDK, who waits, who is let in."""

import json
import threading

import ask_server
import openai
import pytest
from ask_server import send
from hostile_students import QUESTION, SOLUTION, SUBQUESTION

import distill_jax
from distill_jax.ask.guard import LOOPBACK
from distill_jax.ask.line import MOST_WAITING
from distill_jax.ask.server import make_app
from distill_jax.dialogues.answerer import Look
from distill_jax.records import Problem

CONTENT = f"""decomposer: {SUBQUESTION}
solver: {SOLUTION}
decomposer: And then?
solver: It is 5.
#### 5"""
ASKED = {"model": "students", "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture(scope="module")
def port(hostile_workdir):
    with ask_server.process(hostile_workdir) as found:
        yield found


@pytest.fixture(scope="module")
def client(port):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def students(hostile_workdir):
    return distill_jax.load(hostile_workdir, mesh__data=8)


def test_the_dialogue_is_the_assistants_message(client, students):
    assert [model.id for model in client.models.list()] == ["students"]
    assert client.models.retrieve("students").owned_by == "distill-jax"
    earlier = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    parts = [{"type": "text", "text": QUESTION}]
    for last in (QUESTION, parts):
        reply = client.chat.completions.create(
            model="students", messages=[*earlier, {"role": "user", "content": last}],
            temperature=0.0, max_tokens=192, seed=3, user="somebody",
        )  # fmt: skip
        [choice] = reply.choices
        assert (choice.message.role, choice.message.content) == ("assistant", CONTENT)
        assert choice.finish_reason == "stop"
    [solution] = students.solve([QUESTION])
    assert reply.dialogue["answer"] == solution.answer == "5"
    assert (reply.dialogue["status"], reply.dialogue["note"]) == ("finished", "")
    assert reply.dialogue["percentile"] > 0 and reply.dialogue["unfamiliar"] == ""
    assert [turn["text"] for turn in reply.dialogue["turns"]] == [t.text for t in solution.turns]
    assert reply.dialogue["turns"][0]["log_probability"] < 0
    assert reply.usage.prompt_tokens == students.count_tokens(QUESTION)
    assert reply.usage.completion_tokens == sum(turn.tokens for turn in solution.turns)


def test_streamed_turn_by_turn(client):
    stream = client.chat.completions.create(
        **ASKED, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [
        c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content
    ]
    assert "".join(pieces) == CONTENT and len(pieces) == 4
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-2].dialogue["answer"] == "5"
    assert chunks[-1].usage.total_tokens > 40 and not chunks[-1].choices
    raw = send_chat(client, stream=True)[2]
    assert raw.endswith("data: [DONE]\n\n") and '"usage"' not in raw


def send_chat(client, **changes):
    return send(client.base_url.port, "POST", "/v1/chat/completions", {**ASKED, **changes})


@pytest.mark.parametrize(
    ("changes", "status", "param", "message"),
    [
        ({"messages": []}, 400, "messages", "at least one message"),
        ({"messages": "hello"}, 400, "messages", "at least one message"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages", "role 'user'"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "messages", "question is empty"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages", "content is text"),
        (
            {"messages": [{"role": "user", "content": "long " * 200}]},
            400,
            "messages",
            "at most 160",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, 400, "messages", "surrogate"),
        ({"model": "gpt-4o"}, 404, "model", "no model 'gpt-4o' here, only 'students'"),
        ({"model": None}, 400, "model", "model is missing"),
        ({"n": 2}, 400, "n", "one dialogue a request"),
        ({"temperature": "hot"}, 400, "temperature", "a number from 0.0 to 2.0"),
        ({"temperature": -1}, 400, "temperature", "a number from 0.0 to 2.0"),
        ({"top_p": 0}, 400, "top_p", "a number from"),
        ({"seed": True}, 400, "seed", "a number from"),
        ({"max_tokens": 5}, 400, "max_tokens", "at most 192 tokens"),
    ],
)
def test_refused_in_openais_shape(client, changes, status, param, message):
    code, _, text = send_chat(client, **changes)
    error = json.loads(text)["error"]
    assert (code, error["type"], error["param"]) == (status, "invalid_request_error", param)
    assert message in error["message"]


def test_the_sdk_raises_its_own_errors(client):
    with pytest.raises(openai.BadRequestError, match="at least one message"):
        client.chat.completions.create(model="students", messages=[])
    with pytest.raises(openai.NotFoundError, match="only 'students'") as caught:
        client.models.retrieve("other")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="students", input="x")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/solve"])
def test_bodies_that_are_not_read(port, path):
    assert send(port, "POST", path, b"x" * (64 * 1024 + 1))[0] == 413
    assert send(port, "POST", path, b'{"question"')[0] == 400
    assert send(port, "POST", path, b"[" * 60_000)[0] == 400
    assert send(port, "POST", path, b'{"temperature": NaN}')[0] == 400
    assert send(port, "POST", path, b"[]")[0] == 400
    # What a form of another site can send without asking first.
    assert send(port, "POST", path, b"{}", Content_Type="text/plain")[0] == 415
    assert send(port, "GET", path)[0] == 405


def test_other_hosts_and_other_sites_are_not_let_in(port):
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[::1"):
        assert send(port, "GET", "/about", Host=host)[0] == 403, host
    for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert send(port, "GET", "/about", Host=host)[0] == 200, host
    body, own = {"question": QUESTION}, f"http://127.0.0.1:{port}"
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        assert send(port, "POST", "/solve", body, Origin=origin)[0] == 403, origin
    assert send(port, "POST", "/solve", body, Origin=own)[0] == 200


def test_headers_of_every_answer(port):
    for path, status in (("/", 200), ("/page.js", 200), ("/v1/models", 200), ("/nothing", 404)):
        code, headers, _ = send(port, "GET", path, Origin=f"http://127.0.0.1:{port}")
        names = {name.lower(): value for name, value in headers.items()}
        assert code == status
        policy = names["content-security-policy"]
        assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
        assert names["x-content-type-options"] == "nosniff"
        assert not [name for name in names if name.startswith("access-control")]


def test_events_of_an_edited_dialogue(port):
    said = [{"role": "decomposer", "text": "<i>How</i> many?"}]
    status, _, text = send(port, "POST", "/solve", {"question": QUESTION, "said": said})
    events = [json.loads(line) for line in text.strip().split("\n")]
    assert status == 200 and events[0] == {"event": "waiting", "ahead": 0}
    turns = [event for event in events if event["event"] == "turn"]
    assert {event["index"] for event in turns} == set(range(turns[-1]["index"] + 1))
    last = events[-1]
    assert last["event"] == "end" and last["turns"][0]["text"] == "<i>How</i> many?"
    assert "".join(text for text, _ in turns[0]["pieces"]).startswith("<i>")
    wrong = {"question": QUESTION, "said": [{"role": "solver", "text": "5"}]}
    events = send(port, "POST", "/solve", wrong)[2].strip().split("\n")
    message = "said: it is the turn of decomposer, not of 'solver'"
    assert json.loads(events[-1]) == {"event": "error", "message": message, "user": True}


class HeldStudents:
    """Real students who say nothing before `go` is set, and look at it in between."""

    def __init__(self, students):
        self._students, self.go, self.ended = students, threading.Event(), []
        self.began = threading.Semaphore(0)

    def __getattr__(self, name):
        return getattr(self._students, name)

    def answer(self, questions, **settings):
        self.began.release()
        try:
            while not self.go.wait(0.01):
                yield Look(Problem(questions[0], questions[0], "0", "asked"), 0, ())
            yield from self._students.answer(questions, **settings)
        except GeneratorExit:
            self.ended.append(questions[0])
            raise


@pytest.fixture
def held(students):
    students = HeldStudents(students)
    with ask_server.thread(make_app(students, "students", LOOPBACK)) as port:
        yield students, port
        students.go.set()


def test_who_waits_is_told_and_who_leaves_makes_room(held):
    students, port = held
    opened = [ask_server.open_dialogue(port, f"What is {n} and 3?") for n in range(4)]
    (first, one), (second, two), (third, three), (fourth, four) = opened
    assert one() == {"event": "waiting", "ahead": 0}
    assert [next_event()["ahead"] for next_event in (two, three, four)] == [1, 2, 3]
    second.close()  # while it waits
    assert [three()["ahead"], four()["ahead"]] == [1, 2]
    assert students.began.acquire(timeout=60)
    first.close()  # while it is on the device: the next one begins
    assert [three()["ahead"], four()["ahead"]] == [0, 1]
    assert students.began.acquire(timeout=60)
    assert students.ended == ["What is 0 and 3?"]
    students.go.set()
    for next_event in (three, four):
        events = [next_event()]
        while events[-1]["event"] != "end":
            events.append(next_event())
        assert events[-1]["answer"] == "5"
    third.close()
    fourth.close()


def test_a_program_that_leaves_frees_the_device(held):
    students, port = held
    with (
        openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0) as client,
        pytest.raises(openai.APITimeoutError),
    ):
        client.with_options(timeout=1.0).chat.completions.create(**ASKED)
    students.go.set()
    assert json.loads(send(port, "POST", "/v1/chat/completions", ASKED)[2])["dialogue"]
    assert students.ended in ([QUESTION], [])  # [] = it was gone before its turn came


def test_a_full_line_says_so(held):
    _, port = held
    opened = [ask_server.open_dialogue(port, QUESTION) for _ in range(MOST_WAITING + 1)]
    status, _, text = send(port, "POST", "/v1/chat/completions", ASKED)
    assert status == 429 and "try again later" in json.loads(text)["error"]["message"]
    for connection, _ in opened:
        connection.close()
