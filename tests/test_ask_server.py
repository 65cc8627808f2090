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
    parts = [{"type": "text", "text": QUESTION}]
    for content in (QUESTION, parts):
        reply = client.chat.completions.create(
            model="students", messages=[{"role": "user", "content": content}],
            temperature=0.0, max_tokens=192, seed=3, user="somebody",
            response_format={"type": "text"}, presence_penalty=0,
        )  # fmt: skip
        assert "warnings" not in reply.model_extra and "dialogues" not in reply.model_extra
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


def streamed(client, **options):
    """(text, finish reasons, chunks) of a streamed answer to ASKED."""
    chunks = list(client.chat.completions.create(**ASKED, stream=True, **options))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    finished = [choice.finish_reason for choice in choices if choice.finish_reason]
    return [c.delta.content for c in choices if c.delta.content], finished, chunks


def test_streamed_token_by_token(client, students):
    pieces, finished, chunks = streamed(client, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(pieces) == CONTENT and finished == ["stop"]
    [solution] = students.solve([QUESTION])
    tokens = sum(turn.tokens for turn in solution.turns)
    # All but the last two end marks, which have no text; and four names of roles.
    assert len(pieces) == tokens - 2 + 4
    assert chunks[-2].dialogue["answer"] == "5"
    assert chunks[-1].usage.completion_tokens == tokens and not chunks[-1].choices
    raw = send_chat(client, stream=True)[2]
    assert raw.endswith("data: [DONE]\n\n") and '"usage"' not in raw


def test_a_message_ends_after_so_many_tokens_and_before_a_text(client):
    pieces, _, _ = streamed(client)
    for key in ("max_tokens", "max_completion_tokens"):
        reply = client.chat.completions.create(**ASKED, **{key: 3})
        # The name of the role is not a token of the students'.
        assert reply.choices[0].message.content == "".join(pieces[:4])
        assert (reply.choices[0].finish_reason, reply.usage.completion_tokens) == ("length", 3)
        assert (reply.dialogue["answer"], reply.dialogue["status"]) == (None, "token_cap")
        assert reply.dialogue["turns"][0]["tokens"] == 3
    assert "".join(streamed(client, max_tokens=3)[0]) == "".join(pieces[:4])
    both = client.chat.completions.create(**ASKED, max_tokens=3, max_completion_tokens=2)
    assert both.usage.completion_tokens == 2
    for stop in ("\n", "solver: ", "[/red]?", ["nowhere", "t be", "And then?"], "nowhere"):
        stops = [stop] if isinstance(stop, str) else stop
        places = [CONTENT.index(each) for each in stops if each in CONTENT]
        text = CONTENT[: min(places)] if places else CONTENT
        reply = client.chat.completions.create(**ASKED, stop=stop)
        assert reply.choices[0].message.content == text
        assert reply.choices[0].finish_reason == "stop"
        told, finished, chunks = streamed(client, stop=stop)
        assert ("".join(told), finished) == (text, ["stop"])
        assert chunks[-1].dialogue == reply.dialogue
    reply = client.chat.completions.create(**ASKED, stop=["And then?"])
    assert reply.dialogue["note"] == "stopped before 'And then?', as asked"
    assert reply.dialogue["answer"] is None and len(reply.dialogue["turns"]) == 3


def test_the_probabilities_are_those_of_the_message(client):
    reply = client.chat.completions.create(**ASKED, logprobs=True)
    tokens = reply.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == CONTENT
    assert b"".join(bytes(token.bytes) for token in tokens) == CONTENT.encode()
    turns = reply.dialogue["turns"]
    total = sum(turn["log_probability"] for turn in turns)
    assert sum(token.logprob for token in tokens) == pytest.approx(total, abs=1e-4)
    first = [token.logprob for token in tokens[1 : turns[0]["tokens"]]]
    assert tokens[0].token == "decomposer: " and tokens[0].logprob == 0
    line_break = tokens[turns[0]["tokens"]]
    assert line_break.token == "\n"
    assert sum(first) + line_break.logprob == pytest.approx(turns[0]["log_probability"], abs=1e-4)
    chunks = streamed(client, logprobs=True)[2]
    assert [
        token
        for chunk in chunks
        for c in chunk.choices
        if c.logprobs
        for token in c.logprobs.content
    ] == tokens


def test_several_choices_are_requests_with_the_seeds_that_follow(client):
    drawn = {"temperature": 2.0, "max_tokens": 12}
    reply = client.chat.completions.create(**ASKED, n=3, seed=5, **drawn)
    assert [choice.index for choice in reply.choices] == [0, 1, 2] and len(reply.dialogues) == 3
    texts = [choice.message.content for choice in reply.choices]
    assert len(set(texts)) > 1
    alone = [client.chat.completions.create(**ASKED, seed=5 + i, **drawn) for i in range(3)]
    assert [one.choices[0].message.content for one in alone] == texts
    assert reply.usage.completion_tokens == sum(one.usage.completion_tokens for one in alone)
    chunks = streamed(client, n=3, seed=5, **drawn)[2]
    told = ["", "", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            told[choice.index] += choice.delta.content or ""
    assert told == texts
    assert [
        chunk.dialogue for chunk in chunks if "dialogue" in chunk.model_extra
    ] == reply.dialogues


def test_what_has_no_effect_is_said_in_the_response(client):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    options = {
        "messages": [*messages, *ASKED["messages"]], "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}], "presence_penalty": 1.0,
    }  # fmt: skip
    reply = client.chat.completions.create(**ASKED | options)
    assert reply.choices[0].message.content == CONTENT
    no_effect = "has no effect: the students write as they were trained to"
    assert sorted(reply.warnings) == [
        "messages: only the last one is read, as the question; 2 before it are not (instructions "
        "have no effect)",
        f"presence_penalty {no_effect}",
        f"response_format {no_effect}",
        f"tools {no_effect}",
    ]
    first = next(iter(client.chat.completions.create(**ASKED | options, stream=True)))
    assert first.warnings == reply.warnings
    [warning] = client.chat.completions.create(**ASKED, n=2, max_tokens=4).warnings
    assert warning.startswith("n has no effect at temperature 0")
    code, _, text = send_chat(client, **{"\ud800": 1})
    assert code == 200 and json.loads(text)["warnings"] == [f"\\ud800 {no_effect}"]


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
        ({"n": 17}, 400, "n", "n: a whole number from 1 to 16, not 17"),
        ({"temperature": "hot"}, 400, "temperature", "a number from 0 to 2, not 'hot'"),
        ({"temperature": -1}, 400, "temperature", "a number from 0 to 2, not -1"),
        ({"top_p": 0.0}, 400, "top_p", "top_p: a number above 0, at most 1, not 0.0"),
        ({"seed": True}, 400, "seed", "seed: a whole number from 0 to 2^63 - 1, not True"),
        ({"seed": 1.5}, 400, "seed", "a whole number from"),
        ({"max_tokens": 0}, 400, "max_tokens", "max_tokens: a whole number from 1, not 0"),
        ({"max_completion_tokens": 1.5}, 400, "max_completion_tokens", "a whole number from 1"),
        ({"stop": [""]}, 400, "stop", "a text or a list of at most 16, none of them empty"),
        ({"stop": 3}, 400, "stop", "a text or a list"),
        ({"logprobs": 5}, 400, "logprobs", "logprobs: true or false, not 5"),
        ({"stream": "yes"}, 400, "stream", "stream: true or false"),
        ({"logprobs": True, "top_logprobs": 2}, 400, "top_logprobs", "leave it out"),
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
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{port + 1}", "http://["):
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
    assert "".join(text for text, *_ in turns[0]["pieces"]).startswith("<i>")
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
