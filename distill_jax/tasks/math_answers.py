"""Grading answers that are LaTeX: fractions, intervals, sets, expressions, as in MATH.

Our own reading comes first: it is exact, and fast. What it cannot decide is parsed and compared by
Math-Verify (https://github.com/huggingface/Math-Verify, extra [math]), and only as LaTeX: the path
for plain expressions would evaluate text. That runs in a process of its own, which is ended if a
comparison takes longer than a second: `9^{9^{9}}` must not hold up a run, and a model's answer must
not take all memory.
"""

import atexit
import importlib.util
import json
import re
import select
import subprocess
import sys
import threading
from typing import IO

from distill_jax.errors import UserError
from distill_jax.records import Grade
from distill_jax.tasks.grading import grade_text
from distill_jax.text.answer_extractors import MARKER, final_line, gold_quantity, read_quantity
from distill_jax.text.quantities import same_around
from distill_jax.text.text_answers import text_key

SECONDS = 1.0  # for one comparison
_START_SECONDS = 120.0  # sympy takes seconds to import, on a busy machine more
_LONGEST = 4000  # characters of an answer
_BOX = "\\boxed{"
# `2x`, `\frac{1}{2}y`, `2k`: a quantity with a name, not a number with a unit.
_NAMED = re.compile(r"[0-9)}](?:[A-Za-z]| [xyz])(?![A-Za-z])")
_FACTORIAL = re.compile(r"(?<=[0-9A-Za-z)}])!(?!=)")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_BRACKETS = re.compile(r"[()\[\]]|\\[{}]")
_HAS_BORDERS = re.compile(r"\$|\\\(|\\\[|\\boxed *\{|\\begin *\{")


def grade_math(completion: str, answer: str) -> Grade:
    """Grade a completion whose final answer is LaTeX, or a number, or text.

    normalised: right letter for letter, or as a number or text as the other graders read it, or
    because Math-Verify finds both equal within a second. What is read: the rest of the line after
    the last `####`, else the content of the last \\boxed{}, else the last line. The other scores
    are those of `grade_text`. Raises UserError if Math-Verify is not installed.
    """
    grade = grade_text(completion, answer)
    line = math_line(completion)
    if not line:
        return Grade(None, {**grade.scores, "normalised": False})
    return Grade(line, {**grade.scores, "normalised": same_math(line, answer)})


def math_line(completion: str) -> str:
    """The final answer as it was written: after `####`, in the last box, or the last line.

    >>> math_line("so it is \\\\boxed{\\\\frac{1}{2}}, which is less")
    '\\\\frac{1}{2}'
    """
    place = completion.rfind(_BOX)
    if MARKER in completion or place < 0:
        return final_line(completion)
    depth, start = 1, place + len(_BOX)
    for end in range(start, min(len(completion), start + _LONGEST)):
        depth += {"{": 1, "}": -1}.get(completion[end], 0)
        if depth == 0:
            return completion[start:end].strip()
    return final_line(completion)


def same_math(line: str, answer: str) -> bool:
    """Whether an answer is the known one; see `grade_math`."""
    if line == answer.strip():
        return True
    plain = not any(_NAMED.search(text) or _factorials(text) for text in (line, answer))
    gold = gold_quantity(answer) if plain else None
    found = read_quantity(line) if gold is not None else None
    if gold is not None and found is not None:
        if gold.value == found.value:
            return same_around(found.words, gold.words)
        if not gold.words and not found.words:
            return False
    # Single letters are names of quantities, of which the case matters; `[0,1]` is not `(0,1)`.
    if text_key(line) == text_key(answer) and _form(line) == _form(answer):
        return True
    if max(len(line), len(answer)) > _LONGEST:
        return False
    return _PROCESS.same(_bordered(answer), _bordered(line))


def check_installed() -> None:
    """Raise UserError if Math-Verify is not installed."""
    if importlib.util.find_spec("math_verify") is None:
        raise UserError(
            "config.task_options.answers=math needs Math-Verify: pip install -c constraints.txt "
            "-e '.[math]'"
        )


def _form(text: str) -> tuple[list[str], list[str], int]:
    """What the key of a text leaves out, and a formula needs."""
    letters = re.findall(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", text)
    return letters, _BRACKETS.findall(text) if "," in text else [], _factorials(text)


def _factorials(text: str) -> int:
    """How many there are; in a sentence `!` is not one."""
    return 0 if _WORD.search(text) else len(_FACTORIAL.findall(text))


def _bordered(text: str) -> str:
    return text if _HAS_BORDERS.search(text) else f"${text}$"


class _Process:
    """The process that compares, started at the first question and again after it was ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def same(self, gold: str, answer: str) -> bool:
        """What Math-Verify says of two texts; False if it takes too long or fails."""
        with self._lock:
            process = self._process or self._start()
            question = json.dumps({"gold": gold, "answer": answer}) + "\n"
            try:
                _pipe(process.stdin).write(question.encode())
                _pipe(process.stdin).flush()
                reply = _line(_pipe(process.stdout), SECONDS)
            except OSError:  # it has died, of memory for instance
                reply = b""
            if not reply:
                self._end()
            return reply == b"true\n"

    def _start(self) -> subprocess.Popen[bytes]:
        check_installed()
        # No text of a model is on its command line, and it imports nothing of JAX.
        command = [sys.executable, "-m", "distill_jax.tasks.math_verify_process"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        atexit.register(self._end)
        if _line(_pipe(self._process.stdout), _START_SECONDS) != b"ready\n":
            self._end()
            raise UserError(
                "config.task_options.answers=math: Math-Verify does not start: try "
                f"{' '.join(command[1:])}"
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _pipe(process.stdin).close()
            _pipe(process.stdout).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _line(pipe: IO[bytes], seconds: float) -> bytes:
    """The line that a process writes next; b"" if it writes none in time or has ended.

    It writes one line at a time and waits, so nothing is left in the buffer.
    """
    ready, _, _ = select.select([pipe], [], [], seconds)
    return pipe.readline() if ready else b""


_PROCESS = _Process()
