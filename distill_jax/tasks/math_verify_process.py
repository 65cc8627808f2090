"""The process in which Math-Verify compares: JSON lines {"gold": ..., "answer": ...} on standard
input, a line "true" or "false" for each on standard output, after a first line "ready".

Whoever started it ends it if an answer takes too long (tasks/math_answers.py). Ends with its input.
"""

import json
import logging
import os
import resource
import sys

_MEMORY = 4 * 2**30  # bytes of address space


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    # Nothing that a library prints may be taken for an answer.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.disable(logging.CRITICAL)
    from math_verify import LatexExtractionConfig, parse, verify

    config = [LatexExtractionConfig(boxed_match_priority=0)]

    def same(gold: str, answer: str) -> bool:
        read_gold = parse(gold, config, parsing_timeout=0)
        read = parse(answer, config, parsing_timeout=0)
        return verify(read_gold, read, timeout_seconds=None)

    same("$\\frac{1}{2}$", "$0.5$")  # builds the grammar, which takes longer than an answer may
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = same(question["gold"], question["answer"])
        except (Exception, RecursionError, MemoryError):
            answer = False
        print("true" if answer else "false", file=replies, flush=True)


if __name__ == "__main__":
    main()
