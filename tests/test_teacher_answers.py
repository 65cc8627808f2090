"""Which answers are complete and kept: what real servers send, asked by the real SDK."""

import hashlib
import json
import os

import pytest
import tokenizers
from asked_teacher import Quiet, ask, number_of, problems_of, right
from scripted_server import Act, ScriptedServer, question_of

from distill_jax.annotations.verify import verify
from distill_jax.configs import base
from distill_jax.errors import UserError
from distill_jax.records import Step
from distill_jax.run.checks import check_values
from distill_jax.tasks import gsm8k
from distill_jax.tasks.grading import grade_number
from distill_jax.teacher.prompt import load_prompt
from distill_jax.teacher.token_count import request_tokens, text_tokens

THOUGHT = "Adding 1 comes next.\nThat is the number after it."
CHAIN = (Step(None, "Adding 1 comes next."), Step(None, "That is the number after it."))


def asked_for(server, since=0):
    return sorted(map(number_of, server.bodies[since:]))


@pytest.mark.parametrize(
    "finish_reason", ["max_tokens", "MAX_TOKENS", "model_length", "error", "abort", None, "new"]
)
def test_only_what_is_known_to_be_complete_is_kept(finish_reason, tmp_path):
    """Half an answer that reads like a whole one."""
    with ScriptedServer(lambda r, _: Act(text=right(r), finish_reason=finish_reason)) as server:
        kept, rejected = ask(server, tmp_path, problems_of(2))
        again = ask(server, tmp_path, problems_of(2))
    assert kept == again[0] == [] and server.requests == 4
    assert {each.reason for each in rejected} <= {"truncated", "not finished"}
    assert all((finish_reason or "no finish_reason") in each.detail for each in rejected)


@pytest.mark.parametrize("finish_reason", ["stop", "STOP", "eos", "eos_token", "end_turn"])
def test_words_for_complete(finish_reason, tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r), finish_reason=finish_reason)) as server:
        assert len(ask(server, tmp_path, problems_of(2))[0]) == 2
        assert len(ask(server, tmp_path, problems_of(2))[0]) == 2 and server.requests == 2


EMPTY = {
    "length": (Act(text=None, finish_reason="length"), "truncated"),
    "tool call": (
        Act(text=None, message={"tool_calls": [{"id": "a"}]}, finish_reason="tool_calls"),
        "no text",
    ),
    "refusal": (Act(text=None, message={"refusal": "I cannot help."}), "refused"),
    "null": (Act(text=None), "no text"),
    "empty": (Act(text=""), "no text"),
    "blank": (Act(text=" \n"), "no text"),
    "only thoughts": (Act(text="<think>Hm.</think>\n"), "no text"),
    "thoughts in a field": (Act(text="", message={"reasoning": "Hm."}), "no text"),
    "thoughts cut off": (Act(text="<think>Hm, 1\n#### 1"), "unfinished thought"),
}


@pytest.mark.parametrize("act, reason", EMPTY.values(), ids=EMPTY)
def test_an_answer_without_text_is_named_asked_once_and_not_kept(act, reason, tmp_path):
    acts = {1: act}

    def reply(request, _):
        return acts.get(number_of(request)) or Act(text=right(request))

    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems_of(3))
        assert asked_for(server) == [0, 1, 2]
        assert [a.id for a in kept] == ["add/train/0", "add/train/2"]
        assert [(each.id, each.reason) for each in rejected] == [("add/train/1", reason)]
        assert rejected[0].detail
        acts.clear()  # the next run asks for it again
        assert len(ask(server, tmp_path, problems_of(3))[0]) == 3
        assert asked_for(server, 3) == [1]
    if reason == "refused":
        assert "I cannot help." in rejected[0].detail


def test_content_in_parts_is_read_as_text(tmp_path):
    def reply(request, _):
        question, answer = right(request).split("\n", 1)
        parts = [question + "\n", answer]
        return Act(text=[{"type": "text", "text": part} for part in parts])

    with ScriptedServer(reply) as server:
        kept, _ = ask(server, tmp_path, problems_of(2))
    assert [len(a.steps) for a in kept] == [1, 1]
    assert kept[0].steps[0].solution == "0+1 = <<0+1=1>>1"


# How a server gives the thought beside what is said.
THOUGHTS = {
    "tags": lambda said: Act(text=f"<think>{THOUGHT}</think>{said}"),
    "reasoning_content": lambda said: Act(text=said, message={"reasoning_content": THOUGHT}),
    "reasoning": lambda said: Act(text=said, message={"reasoning": THOUGHT}),
    "parts": lambda said: Act(
        text=[
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            {"type": "text", "text": said},
        ]
    ),
}


@pytest.mark.parametrize("give", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_are_dropped_or_the_chain(give, tmp_path):
    """Both from the same answers: another use of them costs no request."""
    with ScriptedServer(lambda r, _: give(right(r))) as server:
        dropped, _ = ask(server, tmp_path, problems_of(2))
        chains, _ = ask(server, tmp_path, problems_of(2), reasoning="steps")
        assert server.requests == 2
    assert [a.steps[0].subquestion for a in dropped] == ["What is 0 + 1?", "What is 1 + 1?"]
    assert all(len(a.steps) == 1 for a in dropped)
    assert [(a.steps, a.answer) for a in chains] == [(CHAIN, "1"), (CHAIN, "2")]


def test_an_answer_alone_after_thoughts_says_what_would_help(tmp_path):
    give = THOUGHTS["reasoning_content"]
    with ScriptedServer(lambda r, _: give(f"#### {number_of(r) + 1}")) as server:
        kept, rejected = ask(server, tmp_path, problems_of(1), prompt="cot")
        chains, _ = ask(server, tmp_path, problems_of(1), prompt="cot", reasoning="steps")
    assert not kept and [each.reason for each in rejected] == ["no steps"]
    assert "config.teacher.reasoning=steps" in rejected[0].detail
    assert [(a.steps, a.answer) for a in chains] == [(CHAIN, "1")]


def test_thoughts_in_the_first_of_two_calls_are_the_chain(tmp_path):
    def reply(request, _):
        if question_of(request).startswith("Therefore"):
            return Act(text="<think>The answer only.</think> 1.")
        return Act(text=f"{THOUGHT}</think>0+1 is 1.")  # the prompt opened it

    with ScriptedServer(reply) as server:
        [chain], _ = ask(
            server, tmp_path, problems_of(1), prompt="zero_shot_cot", reasoning="steps"
        )
        [said], _ = ask(server, tmp_path, problems_of(1), prompt="zero_shot_cot")
    assert (chain.steps, chain.answer) == (CHAIN, "1")
    assert (said.steps, said.answer) == ((Step(None, "0+1 is 1."),), "1")


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_the_stop_text_in_a_thought_does_not_cut_the_reply(api, tmp_path):
    def reply(request, _):
        assert ("stop" in request) == (api == "completions")
        thought = "<think>I repeat it.\nProblem: what is it?\n</think>"
        return Act(text=thought + right(request) + "\nProblem: Another?")

    with ScriptedServer(reply) as server:
        kept, rejected = ask(server, tmp_path, problems_of(2), api=api)
    assert [a.answer for a in kept] == ["1", "2"] and not rejected
    assert all(len(a.steps) == 1 for a in kept)


@pytest.mark.parametrize("limits", [(256, 512), (512, 64)])
def test_a_complete_answer_is_used_whatever_the_limit_was(limits, tmp_path):
    """And a cut off one is asked for again with the larger limit."""

    def reply(request, _):
        if number_of(request) == 3 and request.get("max_tokens") == limits[0]:
            return Act(text="Q: What", finish_reason="length")
        return Act(text=right(request))

    with ScriptedServer(reply) as server:
        first, _ = ask(server, tmp_path, problems_of(20), max_tokens=limits[0])
        terminal = Quiet()
        second, _ = ask(server, tmp_path, problems_of(20), terminal, max_tokens=limits[1])
        assert asked_for(server, 20) == [3]
        assert any("19 of 20 samples are in the cache" in line for line in terminal.said)
        ask(server, tmp_path, problems_of(20), max_tokens_name="max_completion_tokens")
        assert server.requests == 21
    assert (len(first), len(second)) == (19, 20)


def old_row(body, sample=0, **changes):
    """A line of a cache as the first releases wrote it: they sent stop texts to chats too, and
    called everything complete that was not known to be cut off."""
    request = body | {"stop": ["\nProblem:"]}
    text = json.dumps([request, sample], sort_keys=True, ensure_ascii=False)
    row = {
        "key": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "complete": True,
        "text": right(body),
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "seconds": 1.9,
        "attempts": 1,
        "time": "2026-11-25T10:00:00+00:00",
        "prompt": "generic/socratic_zero",
        "prompt_hash": "0" * 16,
        "sample": sample,
        "request": request,
    }
    return json.dumps(row | changes) + "\n"


def test_answers_of_the_first_releases_are_found_and_their_mistakes_are_not_used(tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        ask(server, tmp_path, problems_of(8))
        bodies = {number_of(body): body for body in server.bodies}
        [path] = tmp_path.iterdir()
        path.write_text(
            old_row(bodies[0])
            + old_row(bodies[1] | {"max_tokens": 999})  # another limit
            + old_row(bodies[2], complete=False, finish_reason="length")
            + old_row(bodies[3], finish_reason="MAX_TOKENS")
            + old_row(bodies[4], text="")
            + old_row(bodies[5], text="<think>I repeat it:")  # the server cut it at the stop text
            + old_row(bodies[6])
            + old_row(bodies[6], finish_reason="abort", text="Q: What")  # does not hide the other
            # Cut off, but after the reply.
            + old_row(bodies[7], finish_reason="max_tokens", text=right(bodies[7]) + "\nProblem:")
        )
        before = server.requests
        kept, rejected = ask(server, tmp_path, problems_of(8), max_tokens=512)
        assert len(kept) == 8 and not rejected
        assert asked_for(server, before) == [2, 3, 4, 5]
        ask(server, tmp_path, problems_of(8))
        assert server.requests == before + 4


def test_temperature_and_top_p_can_be_left_out(tmp_path):
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        kept, _ = ask(server, tmp_path, problems_of(1), temperature=-1.0, top_p=-1.0)
        ask(server, tmp_path, problems_of(1), top_p=-1.0)
    assert set(server.bodies[0]) == {"model", "messages", "max_tokens"}
    assert kept[0].source["temperature"] is None
    assert set(server.bodies[1]) == {"model", "messages", "max_tokens", "temperature"}
    with pytest.raises(UserError, match="extra holds temperature"):
        ask(server, tmp_path, problems_of(1), temperature=-1.0, extra='{"temperature": 1}')


@pytest.mark.parametrize(
    "key, values", {"temperature": (-1.0, 0.0, 2.0), "top_p": (-1.0, 1.0)}.items()
)
def test_minus_one_and_no_other_negative_value_leaves_it_out(key, values):
    config = base.get_config()
    for value in values:
        config.teacher[key] = value
        check_values(config)
    config.teacher[key] = -0.5
    with pytest.raises(UserError, match=rf"config\.teacher\.{key}=-0\.5: .*-1 leaves it"):
        check_values(config)


def test_tokens_are_counted_by_what_tokenizers_do():
    # Ten words and a full stop; "extraordinary" is long; digits and signs by themselves.
    assert text_tokens("How many red apples are left in the extraordinary box?") == 12
    # 4 8 / 2 = << 4 8 / 2 = 2 4 >> 2 4
    assert text_tokens("48/2 = <<48/2=24>>24") == 16
    messages = [{"role": "user", "content": "How many?"}]
    alone = request_tokens({"messages": messages})
    system = [{"role": "system", "content": ""}, *messages]
    # A template adds 5 around each message, 3 before the answer, and its own system message.
    assert (alone, request_tokens({"messages": system})) == (3 + 5 + 3 + 20, 3 + 10 + 3)
    assert request_tokens({"prompt": "How many?"}) == 3


DATA = os.environ.get("DISTILL_JAX_DATA", "")


@pytest.mark.skipif(
    not DATA, reason="set DISTILL_JAX_DATA to a folder with gpt2_tokenizer/, gsm8k/"
)
@pytest.mark.parametrize("kind", ["socratic", "socratic_zero", "cot", "long"])
def test_counts_of_tokens_are_close_to_those_of_a_tokenizer(kind):
    tokenizer = tokenizers.Tokenizer.from_file(f"{DATA}/gpt2_tokenizer/tokenizer.json")
    prompt = load_prompt(kind, "gsm8k")
    for problem in gsm8k.load("train", directory=f"{DATA}/gsm8k")[:20]:
        texts = [m["content"] for m in prompt.messages(problem.question, (), "", ())]
        counted = sum(len(tokenizer.encode(text).ids) for text in texts)
        assert sum(map(text_tokens, texts)) == pytest.approx(counted, rel=0.15)


def test_the_estimate_says_train_and_dev_and_is_corrected_by_what_was_counted(tmp_path):
    terminal = Quiet()
    with ScriptedServer(lambda r, _: Act(text=right(r))) as server:
        dev = {problem.question for problem in problems_of(3)}
        ask(server, tmp_path, problems_of(10), terminal, dev=dev, samples=2, temperature=0.5)
        expected = sum(map(request_tokens, server.bodies))
        more = Quiet()
        ask(server, tmp_path, problems_of(11), more, dev=dev, samples=2, temperature=0.5)
    assert f": 14 train, 6 dev; about {expected:,} prompt tokens" in terminal.said[1]
    # The server counts 100 for each; the new ones are one digit longer.
    ratio = request_tokens(server.bodies[-1]) / (expected / 20)
    assert f": 2 train, 0 dev; about {200 * ratio:,.0f} prompt tokens" in more.said[1]


def test_kept_answers_are_right(tmp_path):
    """What all of this is for: nothing wrong is learned, whatever the server says of it."""
    acts = [act for act, _ in EMPTY.values()]

    def reply(request, _):
        n = number_of(request)
        if n < len(acts):
            return acts[n]
        give = list(THOUGHTS.values())[n % len(THOUGHTS)]
        return give(right(request))

    problems = problems_of(40)
    with ScriptedServer(reply) as server:
        annotations, rejected = ask(server, tmp_path, problems)
    kept, wrong = verify(annotations, problems, grade_number)
    assert len(kept) == 40 - len(acts) and len(rejected) == len(acts) and not wrong
    assert all("Adding 1" not in step.solution for a in kept for step in a.steps)
