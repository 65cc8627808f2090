"""What an event of the built-in task does to a value, and how a solution writes it."""

STYLES = ("short", "long")


def apply(operation: str, value: int, n: int) -> int:
    """The value after an event; see arithmetic_templates.Template for the operations.

    >>> apply("other-", 9, 2), apply("%", 50, 10)
    (7, 45)
    """
    match operation.removeprefix("other"):
        case "+":
            return value + n
        case "-":
            return value - n
        case "*":
            return value * n
        case "half" | "/":
            return value // n
        case "%":
            return value - value * n // 100
    raise ValueError(operation)


def equation(operation: str, value: int, n: int) -> str:
    """The short solution.

    >>> equation("half", 8, 2), equation("%", 50, 10)
    ('8 / 2 = 4', '50 * 10 / 100 = 5, 50 - 5 = 45')
    """
    result = apply(operation, value, n)
    if operation == "%":
        return f"{value} * {n} / 100 = {value * n // 100}, {value} - {value * n // 100} = {result}"
    sign = {"half": "/"}.get(operation, operation.removeprefix("other"))
    return f"{value} {sign} {n} = {result}"


def in_words(
    equation: str, value: int, result: int, event: str, names: tuple[str, str, str]
) -> str:
    """The long solution: what was known, the event's sentence, the equation, what is known now.

    `names` are who has it before and after, and what is counted.

    >>> in_words("4 - 3 = 1", 4, 1, "3 of the books break.", ("Kim", "Kim", "books"))
    'Kim has 4 books. 3 of the books break. That makes 4 - 3 = 1. Now Kim has 1 books.'
    """
    before, after, things = names
    return (
        f"{before} has {value} {things}. {event} That makes {equation}. "
        f"Now {after} has {result} {things}."
    )
