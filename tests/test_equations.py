"""Equations as steps: hand-worked ones, and random ones against a plain evaluation."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_jax.tasks.equations import OPERATIONS, read_number, solve_infix, solve_prefix
from distill_jax.text import calculator
from distill_jax.text.false_equations import false_marks


def test_infix():
    value, steps, values = solve_infix("( ( 4.0 - 2.0 ) + 3.0 )")
    assert value == 5
    assert values == (2, 5)
    assert steps == ("4-2 = <<4-2=2>>2", "2+3 = <<2+3=5>>5")


def test_a_number_alone_has_no_steps():
    assert solve_infix("8.0") == (8, (), ())


def test_prefix_is_evaluated_from_the_left():
    numbers = [Fraction(n) for n in (2, 3, 4)]
    value, steps, values = solve_prefix("- * number0 number1 / number2 0.5", numbers)
    assert value == -2
    assert values == (6, 8, -2)
    assert steps == (
        "2*3 = <<2*3=6>>6",
        "4/0.5 = <<4/0.5=8>>8",
        "6-8 = <<6-8=-2>>-2",
    )


def test_fractions_and_negative_numbers_stand_in_parentheses_where_they_must():
    thirds = solve_infix("( 2.0 / ( 1.0 / 3.0 ) )")
    assert thirds.value == 6
    assert thirds.steps == ("1/3 = <<1/3=1/3>>1/3", "2/(1/3) = <<2/(1/3)=6>>6")
    below = solve_infix("( 5.0 - ( 1.0 - 3.0 ) )")
    assert below.steps[1] == "5-(-2) = <<5-(-2)=7>>7"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("56", 56),
        ("56.0", 56),
        ("-2.50", Fraction(-5, 2)),
        ("0.3333", Fraction(3333, 10000)),  # written by a person: kept
        ("0.16666666666666666", Fraction(1, 6)),
        ("193.55555555555557", Fraction(1742, 9)),
        ("0.30000000000000004", Fraction(3, 10)),
        ("3.14159265358979", Fraction("3.14159265358979")),  # no simple fraction
    ],
)
def test_read_number(text, value):
    assert read_number(text) == value


@pytest.mark.parametrize(
    "text", ["", "1e5", "nan", "1/2", "1_0", "5 km", "--2", ".5", "9" * 31, "None", "\u0661"]
)
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        read_number(text)


@pytest.mark.parametrize(
    "equation",
    [
        "",
        "1 + 2",
        "( 1 + 2",
        "( 1 2 )",
        "( + 1 2 )",
        "( 1 + 2 ) )",
        "( 1 ( 2 )",
        "1 2",
        "( 1 / 0 )",
        "( 1 ^ 2 )",
        "( 1 + ( 2 ) )",
        "(1 + 2)",
    ],
)
def test_malformed_infix(equation):
    with pytest.raises(ValueError):
        solve_infix(equation)


@pytest.mark.parametrize(
    "equation", ["", "+ 1", "+ 1 2 3", "1 + 2", "+ number0 number2", "/ 1 0", "+- 1 2", "numberx"]
)
def test_malformed_prefix(equation):
    with pytest.raises(ValueError):
        solve_prefix(equation, [Fraction(1), Fraction(2)])


numbers = st.builds("{}.{}".format, st.integers(0, 999), st.integers(0, 99))
trees = st.recursive(
    numbers, lambda tree: st.tuples(st.sampled_from(OPERATIONS), tree, tree), max_leaves=8
)


def infix(tree):
    if isinstance(tree, str):
        return tree
    return f"( {infix(tree[1])} {tree[0]} {infix(tree[2])} )"


def prefix(tree):
    return tree if isinstance(tree, str) else f"{tree[0]} {prefix(tree[1])} {prefix(tree[2])}"


def plain_value(tree):
    if isinstance(tree, str):
        return Fraction(tree)
    left, right = plain_value(tree[1]), plain_value(tree[2])
    if tree[0] == "+":
        return left + right
    if tree[0] == "-":
        return left - right
    return left * right if tree[0] == "*" else left / right


@given(trees)
def test_both_forms_give_the_plain_value_and_true_steps(tree):
    try:
        expected = plain_value(tree)
    except ZeroDivisionError:
        with pytest.raises(ValueError, match="division by zero"):
            solve_infix(infix(tree))
        return
    solved = solve_infix(infix(tree))
    assert solved == solve_prefix(prefix(tree), [])
    assert solved.value == expected
    assert len(solved.steps) == (0 if isinstance(tree, str) else prefix(tree).count(" ") // 2)
    for step in solved.steps:
        expression, _, rest = step.partition(" = ")
        assert rest.startswith(f"<<{expression}=")
        assert false_marks(step) == []
        if len(expression) <= calculator.MAX_LENGTH:
            assert calculator.evaluate(expression) is not None
