"""What a dialogue costs: tokens read and written, and the floating point operations of both."""

from distill_jax.model import flops
from distill_jax.records import Cost
from distill_jax.sampling.dialogues import PROMPT_TOO_LONG, Dialogue
from distill_jax.sampling.turn_rules import TurnRules


def dialogue_cost(rules: TurnRules, prompt: int, dialogue: Dialogue) -> Cost:
    """The cost of a dialogue after `prompt` tokens, as if it were the only one.

    Each student reads the prompt once. Then each of its views reads the tokens that it sees, one at
    a time, except the dialogue's last token, after which nothing is written. Logits count in the
    view that writes a token. With the prompt `Q /` and two students that see everything:

        written    a    /    A    /    -|
        by         d    d    s    s    d
        d          reads 2 + 4 tokens, which look at 1 + 2 + 3 + 4 + 5 + 6, and writes 3
        s          reads as many, and writes 2

    Other computations of the sampler do not count: padding, a pending token that is fed again while
    another role writes, rows that wait for the end of a chunk. That samples of one problem share
    the reading of their prompt is not subtracted. Given tokens count as written.
    """
    if dialogue.status == PROMPT_TOO_LONG:
        return Cost()
    operations = sum(
        flops.forward_flops(size, prompt, flops.causal_pairs(prompt), 0)
        for size in rules.students.values()
    )
    for number, view in enumerate(rules.views):
        seen = sum(turn.written for turn in dialogue.turns if view.sees[turn.role])
        if dialogue.turns and view.sees[dialogue.turns[-1].role]:
            seen -= 1
        pairs = flops.causal_pairs(prompt + seen) - flops.causal_pairs(prompt)
        logits = sum(
            turn.written for turn in dialogue.turns if number in rules.role_views[turn.role]
        )
        operations += flops.forward_flops(view.model, seen, pairs, logits)
    written = sum(turn.written for turn in dialogue.turns)
    return Cost(prompt * len(rules.students), written, operations)
