"""Tiny plans of dialogues, and a slow host loop that they are compared with."""

import jax
import numpy as np
import numpy_gpt2
import numpy_llama
import scipy.stats

from distill_jax.model import gpt2, llama, network
from distill_jax.sampling import decode
from distill_jax.sampling.advance import Calculator
from distill_jax.sampling.dialogues import Request, name_hash
from distill_jax.sampling.turn_rules import FREE, FREE_TURN, HOLD, TurnRules, ViewRules

END_OF_TURN, END_OF_TEXT, VOCAB, PADDED = 10, 11, 12, 128
BOTH = (True, True)


def model(layers, heads, width, context=96):
    return gpt2.GPT2Config(PADDED, context, layers, heads, width)


SMALL, LARGE = model(1, 2, 32), model(2, 4, 48)
LLAMA = llama.LlamaConfig(
    PADDED, 96, 2, 4, 32, key_value_heads=2, head_dim=8, hidden=48, rope_theta=100.0,
    norm_epsilon=1e-5, tied=False,
)  # fmt: skip


def random_params(config, seed):
    """Random weights large enough that the next token depends on all that came before."""
    params = network.init_params(config, jax.random.key(seed))
    return jax.tree.map(lambda leaf: leaf * 12 if leaf.ndim > 1 else leaf, params)


def all_params(rules):
    return {student: random_params(m, len(student)) for student, m in rules.students.items()}


def make_rules(views, role_views, may_end, next_role=None, may_pass=None, **more):
    """`role_views`: of each role its view, or the views of all members."""
    role_views = tuple((each,) if isinstance(each, int) else each for each in role_views)
    roles = len(role_views)
    more = {"max_turns": 6, "max_turn_tokens": 12, "max_tokens": 40} | more
    next_role = next_role or tuple((role + 1) % roles for role in range(roles))
    may_pass = may_pass or (roles > 1,) * roles
    marks = (END_OF_TURN, END_OF_TEXT, VOCAB)
    return TurnRules(views, role_views, next_role, may_pass, may_end, *marks, **more)


PLANS = {
    "both_read_both": make_rules(
        (ViewRules("asker", SMALL, BOTH), ViewRules("answerer", LARGE, BOTH)), (0, 1), (True, False)
    ),
    "decomposer_reads_nothing": make_rules(
        (ViewRules("asker", SMALL, (True, False)), ViewRules("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
    ),
    "neither_reads": make_rules(
        (ViewRules("asker", SMALL, (True, False)), ViewRules("answerer", LARGE, (False, True))),
        (0, 1),
        (True, False),
    ),
    "one_student_one_view": make_rules((ViewRules("asker", SMALL, BOTH),), (0, 0), (True, False)),
    "one_student_two_views": make_rules(
        (ViewRules("asker", SMALL, (True, False)), ViewRules("asker", SMALL, BOTH)),
        (0, 1),
        (True, False),
    ),
    "chain": make_rules((ViewRules("answerer", LARGE, (True,)),), (0,), (True,)),
    "planner_speaks_once": make_rules(
        (
            ViewRules("planner", SMALL, (True, False, False)),
            ViewRules("asker", LARGE, (True, True, True)),
            ViewRules("answerer", model(2, 2, 32), (False, True, True)),
        ),
        (0, 1, 2),
        (False, True, False),
        next_role=(1, 2, 1),
    ),
    "few_turns": make_rules(
        (ViewRules("asker", SMALL, BOTH), ViewRules("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
        max_turns=2,
        max_turn_tokens=30,
    ),
    "short_context": make_rules(
        (ViewRules("asker", model(1, 2, 32, 30), BOTH), ViewRules("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
        max_tokens=64,
        max_turns=99,
    ),
    "headers": make_rules(
        (ViewRules("asker", SMALL, BOTH), ViewRules("answerer", LARGE, BOTH)),
        (0, 1),
        (True, False),
        openings=((4, 4, 7), (3,)),
    ),
    # Two pairs of students, and three students alone.
    "ensemble": make_rules(
        (
            ViewRules("asker", SMALL, BOTH),
            ViewRules("answerer", LARGE, BOTH),
            ViewRules("another_asker", LARGE, (True, False)),
            ViewRules("another_answerer", SMALL, BOTH),
        ),
        ((0, 2), (1, 3)),
        (True, False),
    ),
    "geometric_ensemble": make_rules(
        tuple(ViewRules("answerer" + "s" * more, SMALL, (True,)) for more in range(3)),
        ((0, 1, 2),),
        (True,),
        mean="geometric",
    ),
    # Longer than one window of the caches, so that they grow on the way.
    "long": make_rules(
        (
            ViewRules("asker", model(1, 2, 32, 200), BOTH),
            ViewRules("answerer", model(1, 2, 32, 256), BOTH),
        ),
        (0, 1),
        (True, False),
        max_tokens=170,
        max_turns=99,
        max_turn_tokens=60,
    ),
}


def ragged_requests(count, seed=0, samples=(0,), script=()):
    rng = np.random.default_rng(seed)
    prompts = [rng.integers(0, 10, rng.integers(1, 22)).tolist() for _ in range(count)]
    return [Request(f"p/{i}", prompt, samples, script) for i, prompt in enumerate(prompts)]


class Toy:
    """A calculator over ids: a token below 5 opens a mark, in which one of 5 to 9 asks; the value
    is the two tokens [1, 2], or nothing where the turn has an odd number of tokens."""

    next_state = np.tile(np.arange(4, dtype=np.int8)[:, None], (1, PADDED))
    next_state[0, :5] = 2
    next_state[2, 5:10] = 0
    fires = np.zeros((4, PADDED), bool)
    fires[2, 5:10] = True
    table = Calculator(next_state, fires)

    @staticmethod
    def value(turn):
        return [1, 2] if len(turn) % 2 == 0 else []


def draw(logits, request, sample, count, temperature, seed):
    """Inverse of the cumulated probabilities, in float64."""
    key = decode.dialogue_key(seed, np.uint32(name_hash(request.id)), np.uint32(sample))
    key = jax.random.fold_in(jax.random.wrap_key_data(key), count)
    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature).cumsum()
    return int((weights <= float(jax.random.uniform(key)) * weights[-1]).sum())


def slow_logits(model, params, tokens):
    """Of the last token."""
    if isinstance(model, llama.LlamaConfig):
        return numpy_llama.logits(model, params, tokens)
    return numpy_gpt2.logits(params, tokens)


def slow_mean(members, mean):
    """Log-probabilities of the mean of the members' probabilities."""
    probabilities = [
        np.exp(each - each.max()) / np.exp(each - each.max()).sum() for each in members
    ]
    with np.errstate(divide="ignore"):
        if mean == "arithmetic":
            return np.log(np.mean(probabilities, axis=0))
        product = np.exp(np.mean(np.log(probabilities), axis=0))
        return np.log(product / product.sum())


def obvious_loop(rules, params, request, sample=0, temperature=0.0, seed=3, calculator=None):
    """One dialogue, re-running each role's whole text for every token. Returns tokens, status."""
    params = jax.device_get(params)
    seen = [list(request.prompt) for _ in rules.views]
    written, role, turns, turn, mark, script = [], 0, 0, [], 0, list(request.script)
    own = 0  # tokens of the turn that the role wrote itself
    header = list(rules.opening(role))
    while True:
        members = []
        for view in rules.role_views[role]:
            size, student = rules.views[view].model, rules.views[view].student
            logits = slow_logits(size, params[student], seen[view])
            logits[rules.vocab_size :] = -np.inf
            if not rules.may_pass[role]:
                logits[rules.end_of_turn] = -np.inf
            if not rules.may_end[role]:
                logits[rules.end_of_text] = -np.inf
            members.append(logits.astype(np.float64))
        logits = slow_mean(members, rules.mean) if len(members) > 1 else logits
        entry = script[0] if script else FREE
        in_header = bool(header)
        if in_header:
            token = header.pop(0)
        elif entry >= 0:
            token = entry
        elif temperature:
            token = draw(logits, request, sample, len(written), temperature, seed)
        else:
            token = int(logits.argmax())
        sure = (0.0, 0.0, 0.0) if in_header else slow_statistics(logits, token)
        written.append((token, role, *sure))
        turn += [] if in_header else [token]
        own += entry < 0 and not in_header
        ends = token in (rules.end_of_turn, rules.end_of_text)
        if script and not in_header and (entry != FREE_TURN or ends):
            script.pop(0)
        for index, other in enumerate(rules.views):
            if other.sees[role]:
                seen[index].append(token)
        if token == rules.end_of_text:
            return written, "finished"
        fires = False
        if calculator and role == rules.calculator_role and not in_header:
            fires = entry < 0 and bool(calculator.fires[mark, token])
            mark = int(calculator.next_state[mark, token]) if not ends else 0
        if token == rules.end_of_turn:
            turns, turn, mark, own = turns + 1, [], 0, 0
            role = rules.next_role[role]
            header = list(rules.opening(role))
            if turns >= rules.max_turns:
                return written, "turn_cap"
        if own >= rules.max_turn_tokens or len(written) >= rules.max_tokens:
            return written, "token_cap"
        if any(len(s) > v.model.context for s, v in zip(seen, rules.views, strict=True)):
            return written, "context"
        if fires:
            script = calculator.value(turn) + script
        elif script and script[0] == HOLD:
            script = held_script(written) + script[1:]


def slow_statistics(logits, token):
    """(log-probability, entropy, margin) of a token."""
    log_probs = np.asarray(logits, np.float64) - np.logaddexp.reduce(logits)
    second, best = np.sort(np.exp(log_probs))[-2:]
    return log_probs[token], scipy.stats.entropy(np.exp(log_probs)), best - second


def held_script(written):
    """What `resume` of the tests goes on with at a HOLD."""
    return [END_OF_TEXT] if len(written) > 25 else [END_OF_TURN, FREE_TURN, HOLD]


def toy_resume(request, dialogue):
    """`resume` for a calculator or a HOLD, on ids."""
    last = dialogue.turns[-1]
    if not last.ended:
        return Toy.value(last.tokens)
    return held_script([None] * sum(turn.written for turn in dialogue.turns))


def expected_dialogue(written, rules):
    """The obvious loop's tokens as (role, tokens without end mark, written) per turn."""
    turns, current = [], []
    marks = (rules.end_of_turn, rules.end_of_text)
    for i, (token, role, *_) in enumerate(written):
        current.append(token)
        if token in marks or i == len(written) - 1:
            said = current[len(rules.opening(role)) :]
            turns.append((role, [t for t in said if t not in marks], len(current)))
            current = []
    return turns
