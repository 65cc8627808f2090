"""Plans: equations and operators of solutions, by hand, by construction, and of the real data."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.errors import UserError
from distill_jax.records import Annotation, Step
from distill_jax.tasks import arithmetic, gsm8k, step_size, strategyqa, svamp
from distill_jax.text import plan
from distill_jax.text.transcript import SCHEMES, check_plans


def both(*solutions):
    steps = [Step(None, text) for text in solutions]
    return plan.equations(steps), plan.operators(steps)


@pytest.mark.parametrize(
    ("solutions", "equations", "operators"),
    [
        (("48/2 = <<48/2=24>>24", "48+24 = <<48+24=72>>72"), "48/2 | 48+24", "/ +"),
        (("4 - 3 = 1", "1 + 7 = 8"), "4 - 3 | 1 + 7", "- +"),
        # Two in a step, and a step with none, which adds nothing.
        (("50 * 20 / 100 = 10, 50 - 10 = 40", "So 40."), "50 * 20 / 100 | 50 - 10", "* / -"),
        # The marks of a step take the place of its text, but not of the text of other steps.
        (("2 x 3 is 2*3 = <<2*3=6>>6", "6 + 1 = 7"), "2*3 | 6 + 1", "* +"),
        (("<<5=5>>5", "1+1=2"), "1+1", "+"),
        (("3*4 = <<12=12>>12",), "3*4", "*"),
        # Signs that belong to numbers are no operators.
        (("<<-3*-2=6>>6", "<<5-(-2)=7>>7", "<< (1+2) * 3 =9>>9"), "-3*-2 | 5-(-2) | (1+2) * 3",
         "* - + *"),
        (("$1,000 \u00d7 3 = $3,000",), "1000 * 3", "*"),
        (("Yes, since 2 < 3.", "20% of 50 = 10"), "", ""),
        ((), "", ""),
    ],
)  # fmt: skip
def test_by_hand(solutions, equations, operators):
    assert both(*solutions) == (equations, operators)


@pytest.mark.parametrize(
    ("solutions", "expected"),
    [
        (("+ + 3 5 4=2", "+ 6 2=8"), "<2>"),
        (("+ 3 5=8",), "<1>"),
        (("48/2 = <<48/2=24>>24", "48+24 = <<48+24=72>>72"), "<1>"),
        (("50 * 20 / 100 = 10, 50 - 10 = 40", "4 + 4 = 8"), "<3>"),
        (("- 4 + 5 = 9",), ""),  # of a list: not two operators in front of three numbers
        (("+ 3 5 4=2",), ""),  # one operator for three numbers
        (("7=7",), ""),
        (("It is seven.", "3 + 4 = 7"), ""),
        ((), ""),
    ],
)
def test_the_size_of_a_step(solutions, expected):
    assert plan.step_size([Step(None, text) for text in solutions]) == expected


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_plan_of_the_synthetic_task_is_its_step_size(k):
    """It is the number of operators of a problem that has fewer."""
    options = {"operators": (3, 8), "step_sizes": (k,), "held_out_problems": 60}
    for problem in step_size.load("test", **options):
        expected = min(k, problem.attributes["size"])
        assert plan.step_size(problem.gold.steps) == f"<{expected}>"


NUMBERS = st.integers(0, 999).map(str)
COMPUTED = st.tuples(NUMBERS, st.sampled_from("+-*/"), NUMBERS)
WORDS = st.sampled_from(["Ann has some.", "So", "and then that is", "5 apples", "", "It is 7:30."])


@given(st.lists(st.tuples(WORDS, st.lists(COMPUTED, max_size=3), st.booleans(), WORDS)))
def test_what_is_written_is_found_in_order(steps):
    """Marks in some steps, plain equations in the others, words around them."""
    solutions = []
    for before, computed, marked, after in steps:
        texts = [
            f"<<{a}{sign}{b}=1>>1" if marked else f"{a}{sign}{b} = 1" for a, sign, b in computed
        ]
        solutions.append(", ".join([before, *texts, after]))
    everything = [parts for _, computed, _, _ in steps for parts in computed]
    assert both(*solutions) == (
        " | ".join("".join(parts) for parts in everything),
        " ".join(sign for _, sign, _ in everything),
    )


@given(st.lists(st.text(st.one_of(st.sampled_from("0123456789+-*/=()<>x%$, \n"), st.characters()))))
def test_any_text_has_a_plan_of_one_line(solutions):
    equations, operators = both(*solutions)
    assert "\n" not in equations and re.fullmatch(r"(?:[-+*/](?: [-+*/])*)?", operators)
    # Every equation has an operator, so one is empty where the other is.
    assert bool(equations) == bool(operators)
    assert re.fullmatch(r"(?:<[1-9]\d*>)?", plan.step_size([Step(None, s) for s in solutions]))


def annotation(solution):
    return Annotation("a/1", "Q?", "4", (Step("How many?", solution),), {"kind": "gold"})


def test_a_scheme_with_a_planner_needs_some_equation():
    words, sum_ = annotation("It is four."), annotation("2 + 2 = 4")
    for name in ("socratic_equations", "socratic_operators"):
        assert check_plans([words, sum_, words], SCHEMES[name]) == 2
        with pytest.raises(UserError, match=rf"^config.scheme='{name}': no solution of 2 anno"):
            check_plans([words, words], SCHEMES[name])
    assert check_plans([words], SCHEMES["socratic"]) == 0
    with pytest.raises(UserError, match=r"'planned_chain': .* use --config\.scheme=chain, or"):
        check_plans([words], SCHEMES["planned_chain"])


@pytest.mark.parametrize("difficulty", ["easy", "medium", "hard"])
def test_every_step_of_the_built_in_task_is_planned(difficulty):
    for made in arithmetic.load_annotations("test", difficulty=difficulty):
        for step in made.steps:
            computed = plan.expressions(step.solution)
            assert len(computed) == step.solution.count("=") > 0


def test_how_many_real_annotations_have_a_plan():
    root = os.environ.get("DISTILL_JAX_DATA")
    if not root:
        pytest.skip("DISTILL_JAX_DATA is not set: it names the folder that holds gsm8k and others")
    scheme = SCHEMES["socratic_equations"]
    gold = gsm8k.load_annotations("train", directory=os.path.join(root, "gsm8k"))
    # Those without are algebra (`x + 2x = 30`) and fractions (`1 1/2`); some of them read.
    assert (check_plans(gold, scheme), len(gold)) == (159, 7473)
    gold = svamp.load_annotations("train", directory=os.path.join(root, "svamp"), protocol="ho")
    assert check_plans(gold, scheme) == 0 < len(gold)
    gold = strategyqa.load_annotations("train", directory=os.path.join(root, "strategyqa"))
    with pytest.raises(UserError, match="so there is nothing to plan"):
        check_plans(gold, scheme)
