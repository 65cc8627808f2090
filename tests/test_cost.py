"""What dialogues cost, against every product counted token by token, and by hand."""

import pytest
from dialogue_rules import LARGE, PLANS, SMALL

from distill_jax.dialogues.cost import dialogue_cost
from distill_jax.records import Cost
from distill_jax.sampling.dialogues import Dialogue, WrittenTurn


def dialogue(*lengths, first=0, roles=2, status="finished"):
    """Turns of so many tokens, the end mark included, by the roles in turn."""
    turns = [
        WrittenTurn((first + number) % roles, [1] * (length - 1), length, -1.0)
        for number, length in enumerate(lengths)
    ]
    return Dialogue(turns, status)


def slow_cost(rules, prompt, written):
    """Feed the tokens (role of each, one after the other) as the definition says, and count the
    multiplications of every matrix, 2 FLOPs each."""

    def reads(size, place):
        """One token at a place of the context, counted from 1."""
        matrices = [3 * size.width**2, size.width**2, 4 * size.width**2, 4 * size.width**2]
        attention = [size.width * place, size.width * place]
        return 2 * size.layers * sum(matrices + attention)

    total = 0
    for size in rules.students.values():
        total += sum(reads(size, place) for place in range(1, prompt + 1))
    places = [prompt] * len(rules.views)
    for number, role in enumerate(written):
        for writes in rules.role_views[role]:
            total += 2 * rules.views[writes].model.width * SMALL.vocab_size
        for index, view in enumerate(rules.views):
            if view.sees[role] and number < len(written) - 1:
                places[index] += 1
                total += reads(view.model, places[index])
    return total


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("lengths", [(1,), (2, 2, 1), (5, 9, 1, 1, 3)])
@pytest.mark.parametrize("prompt", [1, 17])
def test_every_product_is_counted(name, lengths, prompt):
    rules = PLANS[name]
    made = dialogue(*lengths, roles=len(rules.role_views))
    roles = [turn.role for turn in made.turns for _ in range(turn.written)]
    expected = Cost(prompt * len(rules.students), sum(lengths), slow_cost(rules, prompt, roles))
    assert dialogue_cost(rules, prompt, made) == expected


def test_the_example_by_hand():
    """Prompt `Q /`, written `a / A / -|`: two students that see everything."""
    rules = PLANS["both_read_both"]
    assert (SMALL.layers, SMALL.width, LARGE.layers, LARGE.width) == (1, 32, 2, 48)
    made = Dialogue(
        [
            WrittenTurn(0, [1], 2, -1.0),
            WrittenTurn(1, [2], 2, -1.0),
            WrittenTurn(0, [], 1, -1.0),
        ],
        "finished",
    )
    looks = 1 + 2 + 3 + 4 + 5 + 6
    decomposer = 1 * (6 * 12 * 32**2 + 2 * 32 * looks) + 3 * 32 * 128
    solver = 2 * (6 * 12 * 48**2 + 2 * 48 * looks) + 2 * 48 * 128
    assert dialogue_cost(rules, 2, made) == Cost(4, 5, 2 * (decomposer + solver))


def test_a_prompt_that_was_not_read_costs_nothing():
    made = Dialogue([], "prompt_too_long")
    assert dialogue_cost(PLANS["chain"], 1000, made) == Cost(0, 0, 0)


def test_costs_add_up():
    assert sum([Cost(1, 2, 3), Cost(10, 20, 30)], Cost()) == Cost(11, 22, 33)
