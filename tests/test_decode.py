"""The jitted alternating sampler against a slow host loop without cache and without padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy_gpt2 import logits as numpy_logits

from distill_jax.model import gpt2
from distill_jax.sampling import decode, generate

END_OF_TURN, END_OF_TEXT, VOCAB, PADDED = 10, 11, 12, 128
BOTH = (True, True)


def model(layers, heads, width, context=96):
    return gpt2.GPT2Config(PADDED, context, layers, heads, width)


SMALL, LARGE = model(1, 2, 32), model(2, 4, 48)


def random_params(config, seed):
    """Random weights large enough that the next token depends on all that came before."""
    params = gpt2.init_params(config, jax.random.key(seed))
    return jax.tree.map(lambda leaf: leaf * 12 if leaf.ndim > 1 else leaf, params)


def make_plan(views, role_view, may_end, **caps):
    caps = {"max_turns": 6, "max_turn_tokens": 12, "max_tokens": 40} | caps
    may_pass = (False,) if len(role_view) == 1 else BOTH
    return decode.DialoguePlan(
        views, role_view, may_pass, may_end, END_OF_TURN, END_OF_TEXT, VOCAB, **caps
    )


PLANS = {
    "both_read_both": make_plan(
        (decode.ViewPlan("asker", SMALL, BOTH), decode.ViewPlan("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
    ),
    "decomposer_reads_nothing": make_plan(
        (decode.ViewPlan("asker", SMALL, (True, False)), decode.ViewPlan("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
    ),
    "neither_reads": make_plan(
        (
            decode.ViewPlan("asker", SMALL, (True, False)),
            decode.ViewPlan("answerer", LARGE, (False, True)),
        ),
        (0, 1),
        (True, False),
    ),
    "one_student_one_view": make_plan(
        (decode.ViewPlan("asker", SMALL, BOTH),), (0, 0), (True, False)
    ),
    "one_student_two_views": make_plan(
        (decode.ViewPlan("asker", SMALL, (True, False)), decode.ViewPlan("asker", SMALL, BOTH)),
        (0, 1),
        (True, False),
    ),
    "chain": make_plan((decode.ViewPlan("answerer", LARGE, (True,)),), (0,), (True,)),
    "few_turns": make_plan(
        (decode.ViewPlan("asker", SMALL, BOTH), decode.ViewPlan("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
        max_turns=2,
        max_turn_tokens=30,
    ),
    "short_context": make_plan(
        (
            decode.ViewPlan("asker", model(1, 2, 32, 30), BOTH),
            decode.ViewPlan("answerer", LARGE, BOTH),
        ),
        (0, 1),
        (True, False),
        max_tokens=64,
        max_turns=99,
    ),
}


def all_params(plan):
    return {view.student: random_params(view.model, len(view.student)) for view in plan.views}


def obvious_loop(plan, params, prompt, key, temperature, forced=()):
    """One dialogue, re-running each role's whole text for every token. Returns tokens, status."""
    params = jax.device_get(params)
    seen = [list(prompt) for _ in plan.views]
    written, role, turns, turn_tokens = [], 0, 0, 0
    while True:
        view = plan.views[plan.role_view[role]]
        logits = numpy_logits(params[view.student], seen[plan.role_view[role]])
        logits[plan.vocab_size :] = -np.inf
        if not plan.may_pass[role]:
            logits[plan.end_of_turn] = -np.inf
        if not plan.may_end[role]:
            logits[plan.end_of_text] = -np.inf
        if len(written) < len(forced) and forced[len(written)] != decode.FREE:
            token = forced[len(written)]
        elif temperature:
            step_key = jax.random.fold_in(key, len(written))
            token = int(jax.random.categorical(step_key, jnp.array(logits) / temperature))
        else:
            token = int(logits.argmax())
        log_prob = float(logits[token] - np.logaddexp.reduce(logits))
        written.append((token, role, log_prob))
        turn_tokens += 1
        for index, other in enumerate(plan.views):
            if other.sees[role]:
                seen[index].append(token)
        if token == plan.end_of_text:
            return written, "finished"
        if token == plan.end_of_turn:
            turns, turn_tokens = turns + 1, 0
            role = (role + 1) % len(plan.role_view)
            if turns >= plan.max_turns:
                return written, "turn_cap"
        if turn_tokens >= plan.max_turn_tokens or len(written) >= plan.max_tokens:
            return written, "token_cap"
        if any(len(s) > v.model.context for s, v in zip(seen, plan.views, strict=True)):
            return written, "context"


def ragged_prompts(count, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 10, rng.integers(1, 22)).tolist() for _ in range(count)]


def expected_dialogue(written, plan):
    """The obvious loop's tokens as (role, tokens without end mark, written) per turn."""
    turns, current = [], []
    for i, (token, role, _) in enumerate(written):
        current.append(token)
        if token in (plan.end_of_turn, plan.end_of_text) or i == len(written) - 1:
            text = [t for t in current if t not in (plan.end_of_turn, plan.end_of_text)]
            turns.append((role, text, len(current)))
            current = []
    return turns


@pytest.mark.parametrize("temperature", [0.0, 1.3])
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("name", PLANS)
def test_equals_obvious_loop(name, batch_size, temperature):
    plan = PLANS[name]
    params = all_params(plan)
    prompts = ragged_prompts(9)
    keys = generate.prompt_keys(3, [f"p/{i}" for i in range(9)])
    dialogues = generate.generate(
        plan, params, prompts, keys, batch_size=batch_size, temperature=temperature
    )
    for prompt, key, dialogue in zip(prompts, keys, dialogues, strict=True):
        written, status = obvious_loop(plan, params, prompt, key, temperature)
        got = [(turn.role, turn.tokens, turn.written) for turn in dialogue.turns]
        assert got == expected_dialogue(written, plan)
        assert dialogue.status == status
        total = sum(turn.log_probability for turn in dialogue.turns)
        assert total == pytest.approx(sum(entry[2] for entry in written), abs=1e-3)


def test_random_weights_reach_every_status():
    """Otherwise the comparison above would not have compared them."""
    seen = set()
    for plan in PLANS.values():
        keys = generate.prompt_keys(3, [f"p/{i}" for i in range(9)])
        dialogues = generate.generate(
            plan, all_params(plan), ragged_prompts(9), keys, batch_size=9, temperature=1.3
        )
        seen |= {dialogue.status for dialogue in dialogues}
    assert seen == {"finished", "turn_cap", "token_cap", "context"}


def test_forced_tokens_replace_what_a_role_would_write():
    plan = PLANS["both_read_both"]
    params = all_params(plan)
    prompts = ragged_prompts(3)
    keys = generate.prompt_keys(0, ["a", "b", "c"])
    forced = np.full((3, plan.max_tokens), decode.FREE, np.int32)
    forced[0, :4] = [1, 2, END_OF_TURN, 5]
    forced[2, 3] = 7
    tokens, lengths, active = generate.pad_prompts(prompts, [0, 1, 2], 32, 3)
    state = decode.run_dialogues(
        plan, params, tokens, lengths, active, keys, jnp.float32(0), jnp.array(forced)
    )
    for row in range(3):
        written, _ = obvious_loop(plan, params, prompts[row], keys[row], 0.0, forced[row])
        assert state.tokens[row, : state.written[row]].tolist() == [entry[0] for entry in written]


def test_prompt_longer_than_the_context_is_not_run():
    plan = PLANS["short_context"]
    prompts = [[1] * 31, [1] * 30, [2, 3]]
    keys = generate.prompt_keys(0, ["a", "b", "c"])
    dialogues = generate.generate(
        plan, all_params(plan), prompts, keys, batch_size=2, temperature=0.0
    )
    assert [d.status == "prompt_too_long" for d in dialogues] == [True, False, False]
    assert len(dialogues[1].turns) == 1 and dialogues[1].turns[0].written == 1


def test_one_compilation_per_bucket():
    plan = PLANS["chain"]
    params = all_params(plan)
    prompts = [*ragged_prompts(20), [1] * 40, [1] * 50, [2] * 64]
    keys = generate.prompt_keys(0, [str(i) for i in range(len(prompts))])
    decode.run_dialogues.clear_cache()
    for temperature in (0.0, 0.7):
        generate.generate(plan, params, prompts, keys, batch_size=4, temperature=temperature)
    assert decode.run_dialogues._cache_size() == 2  # buckets 32 and 64


def test_bucket_lengths():
    assert generate.bucket_lengths(20) == (20, 20)
    assert generate.bucket_lengths(96) == (32, 64, 96)
    assert generate.bucket_lengths(1024) == (32, 64, 128, 256, 512, 1024)
