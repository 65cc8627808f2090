"""The model card (README.md) of an exported student."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill_jax import records
from distill_jax.annotations import hub
from distill_jax.dialogues.votes import LENGTH
from distill_jax.evaluation.summary import origin_lines
from distill_jax.export import chat_template
from distill_jax.records import Annotation
from distill_jax.run.origins import BEGAN_AS
from distill_jax.text.markdown import fenced, plain
from distill_jax.text.messages import speaker
from distill_jax.text.rows import View
from distill_jax.text.tokenizer import EndMarks
from distill_jax.text.transcript import Scheme, render

_GENERATE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

directory = "."  # the directory of this file, or the Hub id
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory)
messages = [
{messages}
]
prompt = tokenizer.apply_chat_template(messages, {begin}return_dict=True, return_tensors="pt")
output = model.generate(**prompt, max_new_tokens=64)
print(tokenizer.decode(output[0, prompt["input_ids"].shape[1] :]))
"""


@dataclasses.dataclass(frozen=True)
class CardFacts:
    """What the card of a student is made from.

    views        those of this student
    annotations  all that the student was trained on, as JSON; the first is the worked example
    licences     {data set: licence} as the task says, {} if it does not
    facts        the student's part of training_data.json
    report       report.json of the run, or None if it was not evaluated
    steps        {student: the step that is exported} of all exported students
    dtype        of the weights in the files
    example      a program in which the students take turns
    marks        of the tokenizer
    """

    student: str
    config: Any
    scheme: Scheme
    views: Sequence[View]
    annotations: Sequence[dict[str, Any]]
    licences: Mapping[str, str]
    facts: Mapping[str, Any]
    report: Mapping[str, Any] | None
    steps: Mapping[str, int]
    dtype: str
    example: str
    marks: EndMarks


def model_card(of: CardFacts) -> str:
    """Markdown with YAML front matter."""
    base = of.config.model[of.student]["init_from"]
    front_matter = _front_matter(base)
    base = of.facts.get(BEGAN_AS, base)
    parts = [
        front_matter,
        _introduction(of, base),
        _prompting(of.scheme, of.views, records.annotation_from_dict(of.annotations[0]), of.marks),
        f"## The students in turn\n\n{fenced(of.example, 'python')}",
        _training(of.config, of.facts),
        _data(of.config, of.annotations, of.licences, base),
        _result(of),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(base: str) -> str:
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    # The Hub knows ids only, not the directories of one machine. JSON strings are YAML strings.
    known = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", base) and not base.endswith(".gguf")
    if known and not pathlib.Path(base).exists():
        lines.append(f"base_model: {json.dumps(base, ensure_ascii=False)}")
    return "\n".join(["---", *lines, "---", ""])


def _family(facts: Mapping[str, Any]) -> str:
    """Runs from before there were other families have GPT-2."""
    names = {"gpt2": "GPT-2", "llama": "Llama", "qwen2": "Qwen 2", "qwen3": "Qwen 3"}
    return names[facts.get("model", {}).get("model_type", "gpt2")]


def _introduction(of: CardFacts, base: str) -> str:
    scheme, views = of.scheme, of.views
    written = [scheme.roles[role] for view in views for role in view.writes]
    others = [role for role in scheme.roles if role not in written]
    in_turn = [f"{r} (once)" if r in scheme.speak_once else r for r in scheme.roles]
    start = f"initialised from {plain(base)}" if base else "trained from random parameters"
    lines = [
        f"# {plain(of.student)}",
        "",
        f"A {_family(of.facts)} student, {start}, for the task {plain(of.config.task)}.",
        "",
        f"- scheme: {plain(scheme.name)} (roles in turn: {', '.join(in_turn)})",
        f"- this student writes as: {', '.join(written)}",
    ]
    for view in views:
        reads = sorted(view.sees.difference(scheme.roles[role] for role in view.writes))
        who = ", ".join(scheme.roles[role] for role in view.writes)
        also = "".join(f", and those of {role}" for role in reads)
        lines.append(f"- as {who} it reads the question, its own turns{also}")
    if others:
        lines += [
            "",
            f"**This student alone does not hold the dialogue.** It writes one turn at a time; the "
            f"turns of {', '.join(others)} are the work of another student of the same run, and "
            "something has to pass them to and fro, as distill\\_jax does when it evaluates.",
        ]
    elif len(scheme.roles) > 1:
        lines += [
            "",
            "**One call does not hold the dialogue.** Each call writes one turn; whoever calls has "
            "to append it and call again, as distill\\_jax does when it evaluates.",
        ]
    return "\n".join([*lines, ""])


def _prompting(
    scheme: Scheme, views: Sequence[View], annotation: Annotation, marks: EndMarks
) -> str:
    if scheme.text_format.messages:
        how = _prompting_by_messages(scheme, marks)
    else:
        how = (
            "A prompt is the question and the turns so far, each followed by "
            f"`{marks.turn}`; there is no system message and nothing else in between. The chat "
            "template writes just that: the question and the turns of others are messages of the "
            f"user, its own turns those of the assistant. A reply ends with `{marks.turn}`, or "
            f"with `{marks.text}` if the dialogue is over. Text that spells one of these marks "
            "is taken for the mark: remove it first.\n"
        )
    parts = [f"## How to prompt it\n\n{how}"]
    for view in views:
        for index in view.writes:
            messages, reply = _example(scheme, view, scheme.roles[index], annotation)
            named = chat_template.chosen_speaker(scheme, views, scheme.roles[index])
            begin = "add_generation_prompt=True, " if scheme.text_format.messages else ""
            begin += f'speaker="{named}", ' if named else ""
            code = _GENERATE.format(
                messages="\n".join(f"    {each!r}," for each in messages), begin=begin
            )
            parts += [
                f"As {scheme.roles[index]}, on a question of the training data:\n",
                fenced(code, "python"),
                "The training data goes on with\n",
                fenced(reply, "text"),
            ]
    return "\n".join(parts)


def _prompting_by_messages(scheme: Scheme, marks: EndMarks) -> str:
    """In chatml."""
    how = (
        "A prompt is the question as a message of the user, in the format of the chats of the "
        "model that this student began as, without a system message; "
        f"`add_generation_prompt=True` begins the reply, which ends with `{marks.turn}`. "
    )
    if not scheme.alone:
        asking = " and ".join(role for role in scheme.roles if role != "solver")
        how += (
            f"The turns so far are messages, too: those of {asking} are the user's, those of the "
            f"solver the assistant's. If the {scheme.ender} writes only `{marks.text}`, the "
            "dialogue is over. "
        )
    return how + "Text that spells `<|im_start|>` or a mark is taken for it: remove it first.\n"


def _example(
    scheme: Scheme, view: View, role: str, annotation: Annotation
) -> tuple[list[dict[str, str]], str]:
    """The messages before the first turn of `role`, as `view` sees them, and this turn."""
    own = {scheme.roles[index] for index in view.writes}
    question = scheme.text_format.trimmed(annotation.question)
    messages = [{"role": "user", "content": question}]
    for writer, text in render(annotation, scheme):
        if writer == role:
            return messages, text
        if writer in view.sees:
            by_header = speaker(writer) if scheme.text_format.messages else None
            mine = "assistant" if writer in own else "user"
            messages.append({"role": by_header or mine, "content": text})
    raise ValueError(f"{annotation.id}: no turn of {role}")


def _training(config: Any, facts: Mapping[str, Any]) -> str:
    rows = [("seed", config.seed), ("task", config.task), *facts.items()]
    lines = [f"| {plain(name)} | {plain(_number(value))} |" for name, value in rows]
    return "\n".join(["## Training", "", "| | |", "|---|---|", *lines, ""])


def _data(
    config: Any,
    annotations: Iterable[Mapping[str, Any]],
    licences: Mapping[str, str],
    base: str,
) -> str:
    options = ", ".join(f"{key}={value}" for key, value in config.task_options.items())
    lines = [
        "## Data, licences, terms",
        "",
        f"Questions of {plain(config.task)} ({plain(options or 'no options')}):",
        "",
        "| data | licence |",
        "|---|---|",
        *(f"| {plain(name)} | {plain(licence)} |" for name, licence in licences.items()),
    ]
    if not licences:
        lines.append("| (not known to distill\\_jax) | look it up, and write it here |")
    if base:
        lines.append(f"| first parameters: {plain(base)} | that of these parameters |")
    lines += [
        "",
        'Who wrote the steps ("gold": they came with the data):',
        "",
        *hub.sources_table(annotations),
        "",
        hub.TERMS,
        "",
    ]
    return "\n".join(lines)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value)


def _result(of: CardFacts) -> str:
    report = of.report
    if report is None:
        return "## Result\n\nThis run was not evaluated.\n"
    if "combination" in report:
        return "## Result\n\nThis run was evaluated only together with others.\n"
    if report["checkpoint_steps"] != dict(of.steps):
        return "## Result\n\nThis run was evaluated with other checkpoints than these.\n"
    low, high = report["accuracy_interval"]
    alone = len(of.scheme.roles) == 1
    whose = "of its own" if alone else "of the dialogues of all students of the run"
    others = ", ".join(
        f"{name} {score['accuracy']:.1%}" for name, score in report["scores"].items()
    )
    rule = "length-filtered vote" if report["sampling"].get("vote") == LENGTH else "majority"
    how = f"{rule} of {{samples}} dialogues each, " if "samples" in report else ""
    sampling = report["sampling"]
    calculator = ", calculator on" if sampling["calculator"] else ""
    given = f", given: {sampling['given']}" if sampling.get("given") else ""
    rounded = "" if of.dtype == "float32" else f" The weights are rounded to {of.dtype} since."
    return (
        f"## Result\n\nAccuracy {whose}: **{report['accuracy']:.1%}** "
        f"({plain(report['accuracy_interval_method'])} interval {low:.1%} to {high:.1%}) on "
        f"n = {report['n']} problems of the split {plain(report['split'])} of "
        f"{plain(report['task'])}, seed {report['seed']}, "
        f"{plain(report['checkpoint_rule'])} checkpoint, {how.format(**report)}"
        f"temperature {sampling['temperature']:g}{calculator}{given}.{rounded}\n\n"
        f"Answers were read by the extractor *{plain(report['headline_extractor'])}*; by "
        f"extractor: {plain(others)}.\n"
        + "".join(f"\n{line[0].upper()}{plain(line[1:])}.\n" for line in origin_lines(report))
    )
