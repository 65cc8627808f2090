"""The page's events and chat completions of a cascade, and its command."""

import json
import re

import ask_server
import pytest
from ask_server import send
from experiment_runs import run
from hostile_students import QUESTION
from scripted_server import Act, ScriptedServer
from test_ask import LINES
from test_ask_server import ASKED, CONTENT
from test_cascade import TAUGHT

import distill_jax
from distill_jax import errors
from distill_jax.ask import __main__
from distill_jax.ask.guard import LOOPBACK
from distill_jax.ask.server import make_app


@pytest.fixture(scope="module")
def students(hostile_workdir):
    return distill_jax.load(hostile_workdir)


def served(cascade):
    return ask_server.thread(make_app(cascade, "students", LOOPBACK))


def solve(port, **body):
    text = send(port, "POST", "/solve", {"question": QUESTION, **body})[2]
    return [json.loads(line) for line in text.strip().split("\n")]


def chat(port, **body):
    return send(port, "POST", "/v1/chat/completions", {**ASKED, **body})[2]


def streamed(port, **body):
    """(text, chunks, raw text) of a streamed answer."""
    raw = chat(port, stream=True, **body)
    chunks = [json.loads(row) for row in re.findall(r"^data: (\{.*)$", raw, re.MULTILINE)]
    told = [c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"]]
    return "".join(told), chunks, raw


def test_the_larger_run_answers(students, tiny_run):
    larger = distill_jax.load(tiny_run[0])
    [alone], [theirs] = students.solve([QUESTION]), larger.solve([QUESTION])
    with served(students.cascade(larger, threshold=-1)) as port:
        about = json.loads(send(port, "GET", "/about")[2])
        assert about["asks"] == (
            "tiny_run is asked if the uncertainty (answer) of students is above -1"
        )
        events = solve(port)
        [place] = [i for i, event in enumerate(events) if event["event"] == "asks"]
        before, after = (
            [e for e in part if e["event"] == "turn"] for part in (events[:place], events[place:])
        )
        assert before[0]["index"] == after[0]["index"] == 0
        assert {e["index"] for e in before} == set(range(len(alone.turns)))
        end = events[-1]
        assert end["turns"][0]["text"] == theirs.turns[0].text
        facts = end["cascade"]
        assert (facts["answered_by"], facts["unanswered"]) == ("tiny_run", "")
        assert facts["first"]["answer"] == "5" and list(facts["costs"]) == ["students", "tiny_run"]
        assert facts["text"].startswith("tiny_run (uncertainty (answer) ")
        # Whose dialogue is edited continues it alone.
        said = [{"role": "decomposer", "text": "How many?"}]
        for who, role in (("tiny_run", "decomposer"), ("students", "decomposer")):
            events = solve(port, said=said, who=who)
            assert events[-1]["turns"][0]["role"] == role and "cascade" not in events[-1]
            assert all(event["event"] != "asks" for event in events)
        assert "nobody here is called 'x': choose students" in solve(port, said=said, who="x")[-1][
            "message"
        ]  # fmt: skip
        # The message is the larger one's alone.
        reply = json.loads(chat(port))
        content = reply["choices"][0]["message"]["content"]
        assert theirs.turns[0].text in content and "And then?" not in content
        assert reply["usage"]["completion_tokens"] == alone.cost.tokens + theirs.cost.tokens
        assert reply["dialogue"]["cascade"]["answered_by"] == "tiny_run"
        told, chunks, raw = streamed(port)
        assert told == content and chunks[-1]["dialogue"] == reply["dialogue"]
        assert ": the small students are unsure, others are asked\n\n" in raw
        cut = json.loads(chat(port, max_tokens=3))
        assert cut["dialogue"]["cascade"]["answered_by"] == "tiny_run"
        assert cut["usage"]["completion_tokens"] == alone.cost.tokens + 3


def test_sure_students_answer_themselves(students, tiny_run):
    with served(students.cascade(tiny_run[0], threshold=1)) as port:
        assert "asks" not in [event["event"] for event in solve(port)]
        reply = json.loads(chat(port, logprobs=True))
        assert reply["choices"][0]["message"]["content"] == CONTENT
        facts = reply["dialogue"]["cascade"]
        assert (facts["answered_by"], facts["first"]) == ("students", None)
        told, chunks, raw = streamed(port, logprobs=True)
        assert told == CONTENT and "others are asked" not in raw
        tokens = [t for chunk in chunks for c in chunk["choices"] if c["logprobs"]
                  for t in c["logprobs"]["content"]]  # fmt: skip
        assert tokens == reply["choices"][0]["logprobs"]["content"]
        assert json.loads(chat(port, stop="And then?"))["dialogue"]["status"] == "stopped"


def test_a_teacher_answers(students, tmp_path):
    acts = [Act(status=400)]

    def reply(request, number):
        del request, number
        return acts.pop(0) if acts else Act(text=TAUGHT)

    with ScriptedServer(reply) as server:
        keys = {"model": "scripted", "base_url": server.url, "cache_dir": str(tmp_path)}
        keys |= {"prompt": "socratic_zero", "retries": 0}
        with served(students.cascade(keys, threshold=-1)) as port:
            failed = json.loads(chat(port))  # the small students' own, in the end
            assert failed["choices"][0]["message"]["content"] == CONTENT
            assert "gave no answer: refused" in failed["dialogue"]["cascade"]["unanswered"]
            whole = json.loads(chat(port, logprobs=True))
            assert whole["choices"][0]["message"]["content"] == f"teacher: {TAUGHT}"
            assert whole["choices"][0]["logprobs"] is None
            assert whole["dialogue"]["answer"] == "6"
            assert whole["dialogue"]["cascade"]["costs"]["scripted"]["prompt_tokens"] == 100
            assert streamed(port)[0] == f"teacher: {TAUGHT}"
            turns = [event for event in solve(port) if event["event"] == "turn"]
            assert turns[-1]["pieces"] == [[TAUGHT, None, len(TAUGHT) // 4], ["", None, 0]]
            [error] = [e for e in solve(port, said=[{"role": "teacher", "text": "x"}],
                                        who="scripted") if e["event"] == "error"]  # fmt: skip
            assert "nobody here is called 'scripted'" in error["message"]


def test_the_command(hostile_workdir, tiny_run):
    done = run(
        "ask", "--workdir", hostile_workdir, "--escalate_to", tiny_run[0], "--threshold=-1",
        "--by=transcript", QUESTION,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == (
        "tiny_run is asked if the uncertainty (transcript) of students is above -1\n"
    )
    lines = done.stdout.split("\n")
    assert lines[:5] == LINES[:5] and lines[5].startswith("unsure: uncertainty (transcript) ")
    [by] = [line for line in lines if line.startswith("by: ")]
    assert by.startswith("by: tiny_run (uncertainty (transcript) ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold=0.5"], "give --escalate_to as well"),
        (["--by=votes"], "give --escalate_to as well"),
        (["--escalate_to=R", "--config.teacher.model=m"], "of a finished run only sampling.*"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert errors.run_command(__main__.main, ["--workdir=W", *arguments, "q"]) == 2
    line = capsys.readouterr().err
    assert message in line and line.count("\n") == 1
