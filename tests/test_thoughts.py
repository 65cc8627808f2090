"""What was thought, told from what was said, in the marks of all families of models."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_jax.records import Step
from distill_jax.teacher.finish_reasons import incomplete
from distill_jax.teacher.message import Message, read_message
from distill_jax.teacher.reply import Reply, parse_chain, parse_pairs, with_thought
from distill_jax.teacher.thoughts import Spoken, spans, split_thought, without_marks

# {} is the thought; what was said stands after it.
MARKUPS = {
    "think": "<think>\n{}\n</think>\n",
    "thinking": "<Thinking>{}</Thinking>",
    "thought": "<thought>\n{}\n</thought>\n\n",
    "reasoning": "<reasoning>{}</reasoning>\n",
    "with an attribute": '<think type="long">{}</think>',
    "Seed": "<seed:think>{}</seed:think>",
    "Mistral": "[THINK]{}[/THINK]",
    "Kimi": "◁think▷{}◁/think▷",
    "Gemma": "<|channel>thought\n{}<channel|>",
    "OpenThoughts": "<|begin_of_thought|>\n{}\n<|end_of_thought|>\n\n<|begin_of_solution|>\n",
    "Cohere": "<|START_THINKING|>{}<|END_THINKING|><|START_RESPONSE|>",
    "harmony": "<|channel|>analysis<|message|>{}<|end|>"
    "<|start|>assistant<|channel|>final<|message|>",
    "harmony, commentary": "<|start|>assistant<|channel|>commentary to=functions.x "
    "<|constrain|>json<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
    "harmony without its tokens": "analysis{}assistantfinal",
}
THOUGHT = "We add 48 and 24.\nThat makes 72."
SAID = "Q: How many in all?\nA: 48+24 = 72\n#### 72"
PAIRS = Reply((Step("How many in all?", "48+24 = 72"),), "72")


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_thoughts_are_not_steps_and_can_be_the_chain(markup):
    text = markup.format(THOUGHT) + SAID
    spoken = split_thought(text)
    assert (spoken.thought, spoken.said.strip(), spoken.closed) == (THOUGHT, SAID, True)
    assert parse_pairs(text) == PAIRS
    chain = (Step(None, "We add 48 and 24."), Step(None, "That makes 72."))
    assert with_thought(parse_pairs(text), spoken.thought) == Reply(chain, "72")
    # The last opening mark without its end: the answer was cut off in the thought.
    opening = markup.partition("{}")[0]
    assert split_thought(opening + THOUGHT) == Spoken(THOUGHT, "", False)
    assert parse_chain(opening + THOUGHT) == Reply((), None)


@pytest.mark.parametrize("name", [name for name in MARKUPS if "without" not in name])
def test_the_opening_mark_may_be_in_the_prompt(name):
    text = MARKUPS[name].partition("{}")[2].join([THOUGHT, SAID])
    assert (split_thought(text).thought, parse_pairs(text)) == (THOUGHT, PAIRS)


@pytest.mark.parametrize(
    "text, said",
    [
        ("<|channel|>final<|message|>72<|return|>", "72"),
        ("72<|im_end|>", "72"),
        ("72</s>", "72"),
        ("<|START_RESPONSE|>72<|END_RESPONSE|>", "72"),
        ("72<\uff5cend\u2581of\u2581sentence\uff5c>", "72"),
        # Words that only look like a mark.
        ("An analysis of 2 < 3 and [THINKING", "An analysis of 2 < 3 and [THINKING"),
        ("The reasoning: |x| > 2", "The reasoning: |x| > 2"),
    ],
)
def test_control_tokens_are_not_said(text, said):
    assert split_thought(text) == Spoken("", said, True)


def test_thoughts_between_what_is_said():
    text = "One.<think>a</think> Two.<thought>b</thought> Three."
    assert split_thought(text) == Spoken("a\nb", "One. Two. Three.", True)
    # A tag of another name inside does not end the thought for what is learned.
    assert split_thought("<think>a<reasoning>b</reasoning>c</think>d").said == "d"
    assert without_marks("<think>We add.</think><|end|>") == "We add."


def test_a_thought_answers_if_nothing_else_does():
    assert with_thought(Reply((), None), "48+24 = 72\n#### 72").answer == "72"
    assert with_thought(PAIRS, "") == PAIRS
    assert with_thought(PAIRS, "So 71.\nThe answer is 71.").answer == "72"


PIECES = [*(part for markup in MARKUPS.values() for part in markup.split("{}")), "72", "\n", "a b"]
PIECES += ["<", "|", "<|", "|>", "analysis", "<|channel|>", "<|start|>assistant", "<|message|>"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_whatever_is_written(text):
    parts, closed = spans(text)
    assert all(0 <= part.start <= part.end <= len(text) for part in parts)
    assert all(a.end <= b.start for a, b in itertools.pairwise(parts))
    spoken = split_thought(text)
    assert spoken.closed == closed and (closed or not spoken.said)
    # Nothing of a thought is said.
    assert split_thought(f"<think>secret{text}</think>").said.find("secret") == -1


@pytest.mark.parametrize(
    "word", ["stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "COMPLETE"]
)
def test_these_are_complete(word):
    assert incomplete(word) is None


@pytest.mark.parametrize(
    "word, reason",
    {
        **dict.fromkeys(("length", "max_tokens", "MAX_TOKENS", "LENGTH"), "truncated"),
        "model_length": "truncated",
        "content_filter": "content filter",
        "SAFETY": "content filter",
        "tool_calls": "no text",
        "refusal": "refused",
        **dict.fromkeys(("error", "abort", "insufficient_system_resource"), "not finished"),
        **dict.fromkeys(("", "null", "repetition", "time_limit", "a new word"), "not finished"),
    }.items(),
)
def test_everything_else_is_not(word, reason):
    assert incomplete(word) == reason


@pytest.mark.parametrize(
    "message, read",
    [
        ({"content": "72"}, Message("72")),
        ({"content": None}, Message(None)),
        ({}, Message(None)),
        ({"content": ["7", {"type": "text", "text": "2"}, {"type": "image"}, 3]}, Message("72")),
        ({"content": {"type": "output_text", "text": "72"}}, Message("72")),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "We add."}]},
                    {"type": "text", "text": "72"},
                ]
            },
            Message("72", "We add."),
        ),
        ({"content": "72", "reasoning_content": "We add."}, Message("72", "We add.")),
        ({"content": "72", "reasoning": "We add."}, Message("72", "We add.")),
        (
            {"content": "72", "reasoning_content": None, "reasoning": ["We ", "add."]},
            Message("72", "We add."),
        ),
        ({"content": None, "refusal": "I cannot."}, Message(None, "", "I cannot.")),
        (
            {"content": [{"type": "refusal", "refusal": "I cannot."}], "refusal": None},
            Message("", "", "I cannot."),
        ),
    ],
)
def test_messages(message, read):
    assert read_message(message) == read
