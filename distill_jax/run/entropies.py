"""Measures how hard to predict each token of a chain is: `python -m distill_jax.run.entropies`.

    python -m distill_jax.run.entropies --scorers RUN1,RUN2 --output DIR

Scorers are runs of --config.scheme=chain, and the chains are their training data. Each chain is
read by the first scorer that has not seen its question, because a scorer has memorised the chains
that it has seen. Two halves of the problems are enough (--config.data.fold=1/2 and 2/2). DIR gets
entropies.jsonl, from which distill_jax.annotations.segment cuts the chains, and summary.json.
"""

import json
import pathlib
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from distill_jax import devices, errors, records
from distill_jax.annotations.segments import pieces
from distill_jax.dialogues.sampler import make_rules
from distill_jax.errors import UserError
from distill_jax.model import sharding
from distill_jax.records import Annotation
from distill_jax.run import from_first
from distill_jax.run.restore_students import chosen_steps, restore_params
from distill_jax.run.run import Run, stored_run
from distill_jax.run.student_setup import sizes
from distill_jax.sampling.turn_rules import allowed_tokens
from distill_jax.settings import command_line
from distill_jax.text.rows import NO_LOSS, Row, encode_prompts
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import scores, step
from distill_jax.training.objective import Likelihood
from distill_jax.workdir import Workdir, local_path, write_json, write_text

GIVEN = ("question", "prefix")


class Scored(NamedTuple):
    """The reasoning of an annotation token by token: a line of entropies.jsonl.

    `tokens` are their texts, which make up the chain; a character of several tokens is the text of
    the last one, the others are "". `entropies` are in nats.
    """

    id: str
    question: str
    answer: str
    tokens: list[str]
    entropies: list[float]
    scorer: str


def main(argv: list[str]) -> None:
    """Parse and score."""
    parser = command_line.parser(
        "run.entropies", "Measure how hard chains are to predict.", keys=""
    )
    parser.add_argument("--scorers", required=True, metavar="RUN,RUN", help="runs with chains")
    parser.add_argument(
        "--given", choices=GIVEN, default="prefix",
        help="what a piece is predicted from: the question and all before it, or the question "
        "alone, as in the code of AS-ES learning",
    )  # fmt: skip
    parser.add_argument("--output", required=True, help="the directory of entropies.jsonl")
    arguments = parser.parse_args(argv)
    devices.keep_freed_memory()
    devices.expect_what_is_there()
    score(
        arguments.scorers.split(","),
        arguments.given,
        local_path(arguments.output, "--output"),
        Terminal(),
    )


def score(paths: Sequence[str], given: str, output: pathlib.Path, terminal: Terminal) -> None:
    """Write entropies.jsonl and summary.json. Raises UserError if a run is no scorer, and if every
    scorer has seen some chain."""
    runs = [_scorer(path) for path in paths]
    todo = shared_out(
        [each for run in runs for each in _annotations(run)], [_questions(run) for run in runs]
    )
    scored, too_long = [], 0
    for number, annotations in enumerate(todo):
        found = _score(runs[number], annotations, given) if annotations else []
        scored += found
        too_long += len(annotations) - len(found)
        terminal.say(f"{runs[number].workdir.path}: {len(found)} chains of the others are read")
    write_text(
        output / "entropies.jsonl",
        "".join(json.dumps(each._asdict(), ensure_ascii=False) + "\n" for each in scored),
    )
    write_json(
        output / "summary.json",
        {"chains": len(scored), "too_long": too_long, "given": given, "scorers": list(paths)},
    )
    terminal.say(f"{len(scored)} chains, {too_long} too long: {output / 'entropies.jsonl'}")


def shared_out(
    chains: Iterable[Annotation], seen: Sequence[Collection[str]]
) -> list[list[Annotation]]:
    """The chains that each scorer reads: every chain once, by the first that has not `seen` its
    question. A question may have several chains. Raises UserError if all have seen one."""
    todo: list[list[Annotation]] = [[] for _ in seen]
    for chain in {records.to_json(each): each for each in chains}.values():
        unseen = (number for number, known in enumerate(seen) if chain.question not in known)
        if (reader := next(unseen, None)) is None:
            raise UserError(
                f"--scorers: {chain.id} was trained on by all of them: give two runs, of "
                "--config.data.fold=1/2 and of --config.data.fold=2/2"
            )
        todo[reader].append(chain)
    return todo


def _scorer(path: str) -> Run:
    run = from_first.checked(stored_run(Workdir(path), {}))
    if not (run.scheme.alone and run.scheme.needs_steps):
        raise UserError(f"--scorers={path}: a scorer is a run of --config.scheme=chain")
    return run


def _annotations(run: Run) -> list[Annotation]:
    rows = records.read_json_lines(run.workdir.annotations)
    return [records.annotation_from_dict(row) for _, row in rows]


def _questions(run: Run) -> set[str]:
    """The questions that the run has seen, in training or to choose its checkpoint."""
    files = (run.workdir.annotations, run.workdir.dev_annotations)
    return {row["question"] for file in files for _, row in records.read_json_lines(file)}


def _score(run: Run, annotations: Sequence[Annotation], given: str) -> list[Scored]:
    """The scored annotations whose rows fit the context, in order."""
    known = from_first.known_students(run)
    tokenizer = from_first.tokenizer(run)
    models = sizes(run, tokenizer, known.facts)
    [student] = run.students
    size = models[student]
    texts = [_texts(run, annotation, given) for annotation in annotations]
    prompts = encode_prompts(annotations, run.scheme, tokenizer)
    encoded = [tokenizer.encode(parts) for parts in texts]
    fits = [
        max(len(prompt) + len(ids) for ids in parts) <= size.context
        for prompt, parts in zip(prompts, encoded, strict=True)
    ]
    rows = [
        Row([*prompt, *ids], [NO_LOSS] * len(prompt) + [0] * len(ids))
        for prompt, parts, fit in zip(prompts, encoded, fits, strict=True)
        for ids in parts
        if fit
    ]
    if not rows:
        return []
    rules = make_rules(run.scheme, run.views, models, tokenizer, run.sampling)
    allowed = np.asarray(allowed_tokens(rules))
    computation = step.Computation(run.config.train.dtype)
    trainer = step.Trainer(size, optax.identity(), computation, allowed, 0, Likelihood())
    mesh = sharding.make_mesh(**run.config.mesh)
    with jax.set_mesh(mesh):
        params: Any = restore_params(run, models, chosen_steps(run, known))[student]
        batch_size = run.config.train.batch_size
        entropies = iter(
            [each.tolist() for each in scores.entropies(mesh, trainer, params, rows, batch_size)]
        )
    return [
        Scored(
            annotation.id,
            annotation.question,
            annotation.answer,
            [text for ids in parts for text in token_texts(tokenizer, ids)],
            [round(value, 5) for _ in parts for value in next(entropies)],
            str(run.workdir.path),
        )
        for annotation, parts, fit in zip(annotations, encoded, fits, strict=True)
        if fit
    ]


def _texts(run: Run, annotation: Annotation, given: str) -> list[str]:
    """The reasoning of a chain, whole or piece by piece: each is predicted by itself."""
    form = run.scheme.text_format
    chain = form.trimmed("\n".join(step.solution for step in annotation.steps))
    chain = f"{form.before_reasoning}{chain}"
    if given == "prefix":
        return [chain]
    return [chain[piece.start : piece.end] for piece in pieces(chain)]


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token, which together are that of `ids`; see `Scored.tokens`."""
    texts: list[str] = []
    before = ""
    whole = tokenizer.decode(ids)
    for end in range(1, len(ids) + 1):
        now = tokenizer.decode(ids[:end])
        if not whole.startswith(now):  # a character is not complete yet
            texts.append("")
        else:
            texts.append(now[len(before) :])
            before = now
    return texts


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
