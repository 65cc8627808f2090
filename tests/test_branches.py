"""Answers that branch on their first token, and what is kept of them."""

import dataclasses
import doctest
import json

import jax
import numpy as np
import pytest
from dialogue_rules import END_OF_TEXT, PLANS, VOCAB, all_params, ragged_requests, slow_logits
from tiny_student import make_mesh

from distill_jax.annotations.harvest import Harvest
from distill_jax.dialogues.answerer import Sampled
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Prediction, Step, Turn, read_json_lines
from distill_jax.run import branches
from distill_jax.run.branches import branch_requests
from distill_jax.run.run import make_run
from distill_jax.sampling import generate, pick
from distill_jax.sampling.first_tokens import first_tokens
from distill_jax.sampling.schedule import Job
from distill_jax.settings import command_line
from distill_jax.text.formats import SERT, SERT_TEACHER
from distill_jax.text.transcript import SCHEMES, answer_text, parse, render
from distill_jax.workdir import Workdir


def test_branches_begin_with_the_most_likely_first_tokens_and_all_draws_differ():
    rules = PLANS["chain"]
    params = all_params(rules)
    asked = ragged_requests(5)
    with jax.set_mesh(make_mesh()):
        found = first_tokens(rules, params, [each.prompt for each in asked], 5)
        wanted = [
            request
            for each, tokens in zip(asked, found.tolist(), strict=True)
            for request in branch_requests(each.id, each.prompt, tokens, 2)
        ]
        job = Job(rules, params, wanted, pick.draw(1.3), seed=3, slots=7)
        dialogues, _ = generate.collect(job)
    for request, tokens in zip(asked, found.tolist(), strict=True):
        view = rules.views[0]
        said = slow_logits(view.model, jax.device_get(params)["answerer"], list(request.prompt))
        said[VOCAB:] = said[END_OF_TEXT] = said[END_OF_TEXT - 1] = -np.inf  # no end mark begins one
        assert tokens == np.argsort(-said)[:5].tolist() and len(set(tokens)) == 5
    for request, answered in zip(wanted, dialogues, strict=True):
        assert [dialogue.turns[0].tokens[0] for dialogue in answered] == list(request.script) * 2
    of_one = [d.turns[0].tokens[1:] for answered in dialogues[:5] for d in answered]
    assert len({tuple(tokens) for tokens in of_one}) > 5


def test_the_two_formats():
    made = Annotation("a", " Is it 5? ", "8", (Step(None, "4 + 4 = 8."),), {"kind": "gold"})
    for form, prompt in (
        (SERT, "Question: Is it 5? Answer:"),
        (SERT_TEACHER, "Question: Is it 5? Answer: Let's think step by step."),
    ):
        chain, alone = (
            dataclasses.replace(SCHEMES[name], text_format=form)
            for name in ("chain", "answer_only")
        )
        assert form.question(made.question) == prompt and not form.question_is_a_turn
        turns = render(made, chain)
        assert turns == [("solver", " 4 + 4 = 8. So the answer is 8.")]
        assert parse(turns, chain) == ((Step(None, "4 + 4 = 8."),), "8")
        assert answer_text([turns[0][1]], chain) == " 4 + 4 = 8. #### 8"
        assert render(made, alone) == [("solver", " So the answer is 8.")]
        assert parse(render(made, alone), alone) == ((), "8")
        # A student that does not write the last full stop has said it as well.
        assert parse([("solver", " So the answer is 8")], alone) == ((), "8")


def sampled(name, number, text, tokens, perplexity, status="finished"):
    turn = Turn("solver", text, tokens, -tokens * float(np.log(perplexity)))
    made = Prediction(name, f"{name}?", "72", text, (turn,), "5", False, {}, status)
    return Sampled(number, made, 0)


def test_what_is_kept_gets_the_known_answer(tmp_path):
    config = command_line.load_config("configs/demo.py")
    command_line.set_values(config, {"scheme": "chain", "text_format": "sert"})
    run = make_run(config, Workdir(tmp_path / "run"))
    wanted = Harvest(
        unwanted=("Question:",), least_tokens=25, most_repetition=0.2, least_perplexity=5.0,
        keep="least_repetition",
    )  # fmt: skip
    said = " ".join(f"w{n}" for n in range(20))
    found = [
        sampled("a", 0, f" {said} So the answer is 5.", 30, 9.0),
        sampled("a", 1, f" {said} w1 w2", 40, 7.0, "unparsed"),  # repeats one of 21 pairs
        sampled("a", 2, f" {said} Question: more?", 30, 9.0),
        sampled("a", 3, f" {said}", 20, 9.0),
        sampled("a", 4, " a b a b a b", 30, 9.0),
        sampled("a", 5, f" {said}", 30, 4.0),
        sampled("b", 0, " So the answer is 72.", 40, 9.0),
        sampled("b", 1, f" {said}", 40, 9.0, "token_cap"),
    ]
    branches.write(run, found, wanted, tmp_path / "out")
    [(_, kept)] = read_json_lines(tmp_path / "out" / "annotations.jsonl")
    assert (kept["id"], kept["answer"], kept["source"]["sample"]) == ("a", "72", 0)
    assert kept["steps"] == [{"subquestion": None, "solution": said}]
    rejected = [row["reason"] for _, row in read_json_lines(tmp_path / "out" / "rejected.jsonl")]
    assert sorted(rejected) == [
        "another of the problem kept",
        "not finished",
        "nothing but the answer",
        "perplexity too low",
        "repetitive",
        "too short",
        "unwanted pattern",
    ]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["tokens_sampled"] == sum(
        turn.tokens for s in found for turn in s.prediction.turns
    )
    assert summary["counts"]["kept"] == summary["problems"] == 1


def test_if_nothing_is_kept_the_reasons_are_named(tmp_path):
    config = command_line.load_config("configs/demo.py")
    command_line.set_values(config, {"scheme": "chain", "text_format": "sert"})
    run = make_run(config, Workdir(tmp_path / "run"))
    found = [sampled("a", n, " So the answer is 5.", 5, 9.0) for n in range(2)]
    with pytest.raises(
        UserError, match=r"no answer is kept \(2 nothing but the answer\): read .*rej"
    ):
        branches.write(run, found, Harvest(), tmp_path / "out")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["rejected.jsonl", "summary.json"]


def test_the_examples_of_the_docstrings():
    result = doctest.testmod(branches)
    assert result.attempted and result.failed == 0
