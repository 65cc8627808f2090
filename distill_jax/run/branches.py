"""A student's own reasoning on training problems: `python -m distill_jax.run.branches`.

    python -m distill_jax.run.branches --workdir RUN --branches 5 --output DIR \\
        --config.sampling.samples=5 --config.sampling.temperature=1 --config.sampling.top_p=0.95 \\
        --config.sampling.top_k=10 --config.harvest.least_tokens=25 \\
        --config.harvest.most_repetition=0.2 --config.harvest.least_perplexity=5 \\
        --config.harvest.keep=least_repetition

Self-enhanced reasoning training (https://arxiv.org/abs/2502.12744): the most likely first tokens of
an answer are given, and several answers are drawn from each of them, because the student's own text
would begin with the answer. Answers that pass the filters of config.harvest become annotations with
the known answer, whatever the student has found: DIR/annotations.jsonl.

There are two differences from the paper. If a branch would begin with the end of the text, the next
best token is used instead. And an answer that a limit has cut is not used.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from distill_jax import devices, errors, records
from distill_jax.annotations import filters, harvest
from distill_jax.annotations.filters import Candidate, Dropped
from distill_jax.annotations.harvest import Harvest
from distill_jax.annotations.leaks import Leaks
from distill_jax.dialogues import predict
from distill_jax.dialogues.answerer import Sampled
from distill_jax.dialogues.sampler import Sampler, make_rules
from distill_jax.errors import UserError
from distill_jax.evaluation.partial import PartialPredictions
from distill_jax.model import sharding
from distill_jax.records import Annotation, Prediction, Problem, Step
from distill_jax.run import from_first
from distill_jax.run.annotation_sources import leak_problems
from distill_jax.run.restore_students import chosen_steps, restore_params
from distill_jax.run.run import Run, stored_run
from distill_jax.run.student_setup import sizes
from distill_jax.sampling import generate
from distill_jax.sampling.dialogues import Request
from distill_jax.settings import command_line
from distill_jax.text.transcript import before_answer
from distill_jax.tracking.terminal import Terminal
from distill_jax.workdir import Workdir, local_path, write_json, write_text

# Sections of config that may differ from the run's. The evaluation's split and task decide which
# questions must not be asked.
_MAY_CHANGE = ("sampling.", "harvest.", "mesh.", "evaluation.problems", "evaluation.checkpoint")


def main(argv: list[str]) -> None:
    """Parse, sample, sift, write."""
    parser = command_line.parser(
        "run.branches",
        "Sample a student's own reasoning by branches.",
        command_line.OF_A_FINISHED_RUN,
    )
    parser.add_argument("--workdir", required=True, help="the run whose student is asked")
    parser.add_argument(
        "--branches", type=int, default=5, metavar="K", help="first tokens of every answer"
    )
    parser.add_argument("--output", required=True, help="the directory to write to")
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)
    if arguments.branches < 1:
        parser.error("--branches must be at least 1")
    devices.keep_freed_memory()
    devices.expect_what_is_there()
    terminal, output = Terminal(), local_path(arguments.output, "--output")
    run, wanted = _run(arguments.workdir, overrides)
    problems = training_problems(run, terminal)
    directory = output / f"partial-{_digest(run, arguments.branches)}"
    found = sample(run, problems, arguments.branches, PartialPredictions(directory), terminal)
    write(run, found, wanted, output)
    if directory.exists():
        directory.rmdir()
    terminal.say(f"annotations: {output / 'annotations.jsonl'}")


def _run(path: str, overrides: Mapping[str, str]) -> tuple[Run, Harvest]:
    """The run as it is asked, and what is kept of its answers: config.harvest is of what is made
    here, not of the run."""
    refused = [key for key in overrides if not key.startswith(_MAY_CHANGE)]
    if refused:
        raise UserError(
            f"config.{refused[0]}: branches are of the run's own training problems: only "
            f"{', '.join(f'config.{key}' for key in _MAY_CHANGE)} may be set here"
        )
    of_harvest = {key: text for key, text in overrides.items() if key.startswith("harvest.")}
    others = {key: text for key, text in overrides.items() if key not in of_harvest}
    run = from_first.checked(stored_run(Workdir(path), others))
    if not run.scheme.alone:
        raise UserError(f"--workdir={path}: a run of one student, --config.scheme=chain, is needed")
    config: Any = command_line.load_config("base.py")
    command_line.apply_overrides(config, of_harvest)
    if found := harvest.mistakes(config.harvest):
        raise UserError("; ".join(found))
    return run, Harvest(**config.harvest)


def training_problems(run: Run, terminal: Terminal) -> list[Problem]:
    """The first config.evaluation.problems training problems of a run (0 = all); never a question
    of its evaluation."""
    problems = run.task.load(run.config.data.train_split)
    leaks = Leaks(leak_problems(run), templated=True, most=1.0)
    asked = [Annotation(p.id, p.question, p.answer, (), {"kind": "gold"}) for p in problems]
    kept, leaked, _ = leaks.drop(asked)
    if leaked:
        terminal.say(f"{len(leaked)} training questions are of the evaluation: not asked")
    left = {annotation.id for annotation in kept}
    problems = [problem for problem in problems if problem.id in left]
    return problems[: run.config.evaluation.problems or None]


def sample(
    run: Run,
    problems: Sequence[Problem],
    branches: int,
    partial: PartialPredictions,
    terminal: Terminal,
) -> list[Sampled]:
    """config.sampling.samples answers from each of the most likely first tokens, those of a problem
    one after the other; what is there already is not asked again."""
    known = from_first.known_students(run)
    tokenizer, steps = from_first.tokenizer(run), chosen_steps(run, known)
    models = sizes(run, tokenizer, known.facts)
    done = partial.gather()
    each = run.sampling.samples
    with jax.set_mesh(sharding.make_mesh(**run.config.mesh)):
        params = restore_params(run, models, steps)
        rules = make_rules(run.scheme, run.views, models, tokenizer, run.sampling)
        if branches > rules.vocab_size:
            raise UserError(f"--branches={branches}: the students know {rules.vocab_size} tokens")
        sampler = Sampler(rules, run.scheme, tokenizer, params, run.sampling, run.config.seed)
        prompts = predict.check_prompts(
            problems, run.scheme, tokenizer, rules.context, run.config.evaluation.max_too_long_share
        )
        asked = [
            (p, ids) for p, ids in zip(problems, prompts, strict=True) if len(ids) < rules.context
        ]
        firsts = sampler.first_tokens([ids for _, ids in asked], branches)
        wanted = [
            (problem, request)
            for (problem, prompt), tokens in zip(asked, firsts.tolist(), strict=True)
            for request in branch_requests(problem.id, prompt, tokens, each)
        ]
        requests = [
            dataclasses.replace(
                request, samples=tuple(s for s in request.samples if (request.id, s) not in done)
            )
            for _, request in wanted
        ]
        total = len(wanted) * each
        terminal.say(f"{len(asked)} problems, {branches} branches, {total} answers")
        with terminal.progress("sampling", total, len(done)) as progress:
            for event in generate.generate(sampler.job(requests)):
                if isinstance(event, generate.Finished):
                    problem, request = wanted[event.request]
                    prediction = predict.grade_dialogue(
                        problem, event.dialogue, sampler, run.task.grade, request.script
                    )
                    sampled = Sampled(event.sample, prediction, event.dialogue.filled_in)
                    done[problem.id, event.sample] = sampled
                    partial.append(sampled)
                elif isinstance(event, generate.Chunk):
                    partial.flush()
                    progress.update(len(done))
    partial.remove()
    return [done[request.id, number] for _, request in wanted for number in request.samples]


def branch_requests(
    name: str, prompt: Sequence[int], first: Sequence[int], samples: int
) -> list[Request]:
    """A request for each of the `first` tokens, with different sample numbers, so that all draws
    differ.

    >>> [(r.script, r.samples) for r in branch_requests("p", [1], [7, 9], 2)]
    [((7,), (0, 1)), ((9,), (2, 3))]
    """
    return [
        Request(name, prompt, tuple(range(b * samples, (b + 1) * samples)), (token,))
        for b, token in enumerate(first)
    ]


def write(run: Run, found: Sequence[Sampled], wanted: Harvest, output: pathlib.Path) -> None:
    """annotations.jsonl, rejected.jsonl and summary.json; without the first, a UserError if nothing
    is kept."""
    candidates = [_candidate(sampled.prediction) for sampled in found]
    numbers = {id(c): s.sample for c, s in zip(candidates, found, strict=True)}
    kept, dropped = filters.sift(candidates, [_ended, _says_something, *wanted.filters])
    kept, others = filters.keep_of_each_problem(kept, harvest.KEEP[wanted.keep])
    dropped += others
    annotations = [_annotation(run, each, numbers[id(each)]) for each in kept]
    text = "".join(records.to_json(each) + "\n" for each in annotations)
    write_text(output / "rejected.jsonl", "".join(_line(each) for each in dropped))
    write_json(
        output / "summary.json",
        {
            "problems": len({each.id for each in annotations}),
            "tokens_sampled": sum(each.tokens or 0 for each in candidates),
            "counts": filters.counts(kept, dropped),
            "harvest": dataclasses.asdict(wanted),
        },
    )
    if not annotations:
        reasons = filters.counts(kept, dropped)
        said = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        raise UserError(
            f"no answer is kept ({said}): read {output / 'rejected.jsonl'}, then set "
            "config.harvest or --branches, or train a student that writes more than answers"
        )
    write_text(output / "annotations.jsonl", text)


def _candidate(prediction: Prediction) -> Candidate:
    [candidate] = filters.candidates_of(prediction)
    return candidate


def _ended(candidate: Candidate) -> str | None:
    """Whether the student ended the text; it need not have named an answer."""
    return None if candidate.status in records.ENDED else "not finished"


def _says_something(candidate: Candidate) -> str | None:
    return None if _reasoning(candidate) else "nothing but the answer"


def _reasoning(candidate: Candidate) -> str:
    """The text without the answer, if one is marked."""
    marked = before_answer(candidate.text)
    is_only_an_answer = not marked and any(
        candidate.text.strip().startswith(mark) for mark in ("####", "So the answer is")
    )
    return "" if is_only_an_answer else (marked or candidate.text).strip()


def _annotation(run: Run, candidate: Candidate, number: int) -> Annotation:
    record = candidate.record
    assert isinstance(record, Prediction)
    source = {"kind": "student", "run": str(run.workdir.path), "sample": number}
    source |= {"tokens": candidate.tokens, "log_probability": candidate.log_probability}
    steps = (Step(None, _reasoning(candidate)),)
    return Annotation(record.id, record.question, record.answer, steps, source)


def _line(dropped: Dropped) -> str:
    row = {
        "id": dropped.candidate.problem,
        "reason": dropped.reason,
        "text": dropped.candidate.text,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def _digest(run: Run, branches: int) -> str:
    """A hash of everything that decides the answers."""
    keys: list[Any] = [run.config.sampling.to_dict(), run.config.evaluation.problems, branches]
    keys += [run.identity(), chosen_steps(run, from_first.known_students(run))]
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:8]


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
