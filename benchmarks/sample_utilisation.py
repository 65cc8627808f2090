"""The share of slot-steps that write a kept token: batches run to the end, and slots refilled.

A slot-step is one slot in one decode step. Both ways run for real, on a tiny model: the lengths are
those of GSM8K's gold dialogues, whatever the students are.

    batches     rows of similar prompts (buckets of 32, 64, 128, ... tokens) run together until the
                last of them has ended; how sampling worked before slots were refilled
    continuous  a slot whose dialogue has ended begins another one

Gold has one dialogue per problem. The lengths of further samples are those of the problems whose
prompts are next in length, so that samples differ from each other as problems do.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from benchmarks import sample_job, slots_picture
from benchmarks.results import Results, say, significant
from distill_jax.model import gpt2, network, sharding
from distill_jax.sampling import generate, pick
from distill_jax.sampling.dialogues import Request
from distill_jax.sampling.schedule import Job, Work
from distill_jax.sampling.turn_rules import TurnRules, ViewRules

END_OF_TURN, END_OF_TEXT, VOCAB, PADDED = 10, 11, 12, 128
MODEL = gpt2.GPT2Config(PADDED, context=1024, layers=1, heads=1, width=8)
ROLES = sample_job.ROLES


class Sampler:
    """A tiny model that writes what it is told to."""

    def __init__(self, caps: sample_job.Caps):
        self._rules = TurnRules(
            views=tuple(ViewRules(role, MODEL, (True, True)) for role in ROLES),
            role_views=((0,), (1,)),
            next_role=(1, 0),
            may_pass=(True, True),
            may_end=tuple(number == sample_job.ENDER for number in range(2)),
            end_of_turn=END_OF_TURN,
            end_of_text=END_OF_TEXT,
            vocab_size=VOCAB,
            max_turns=caps.max_turns,
            max_turn_tokens=caps.max_turn_tokens,
            max_tokens=caps.max_tokens,
        )
        self._params = {role: network.init_params(MODEL, jax.random.key(0)) for role in ROLES}

    def run(self, requests: Sequence[Request], slots: int) -> Work:
        """What it took; the dialogues are as long as their scripts."""
        job = Job(self._rules, self._params, requests, pick.draw(), seed=0, slots=slots)
        dialogues, work = generate.collect(job)
        assert all(d.status == "finished" for group in dialogues for d in group)
        assert work.kept_tokens == sum(len(r.script) * len(r.samples) for r in requests)
        return work

    def batches(self, requests: Sequence[Request], slots: int) -> Work:
        """As `run`, but a batch begins when all dialogues of the last one have ended."""
        total = Work(slots=slots)
        for batch in _batches(requests, slots):
            work = self.run(batch, slots)
            total.rows += [(s, r, a + total.steps, b + total.steps) for s, r, a, b in work.rows]
            total.steps += work.steps
            total.kept_tokens += work.kept_tokens
        return total


def main(arguments: Any) -> None:
    """Measure every number of slots and samples; results are written after each."""
    jax.config.update("jax_platforms", "cpu")
    results = Results(arguments.output, arguments)
    data = sample_job.gsm8k_dialogues(arguments.data)
    with jax.set_mesh(sharding.make_mesh(1, 1, 1, jax.devices()[:1])):
        sampler = Sampler(data.caps())
        for samples in map(int, arguments.samples.split(",")):
            asked = _requests(data, arguments.problems or len(data.prompts), samples)
            for slots in map(int, arguments.slots.split(",")):
                ways = {
                    "batches": sampler.batches(asked, slots),
                    "continuous": sampler.run(asked, slots),
                }
                section = f"{samples} samples" if samples > 1 else "1 sample"
                results.add(section, f"{slots} slots", _compared(ways))
                say(f"{section}, {slots} slots: {results.values[section][f'{slots} slots']}")
        if arguments.picture:
            _draw(sampler, data, arguments, results)
    results.show()


def _requests(data: sample_job.GivenDialogues, problems: int, samples: int) -> list[Request]:
    """One request per dialogue. Only lengths matter, so that ten ids are enough for all words."""
    marks = {data.end_of_turn: END_OF_TURN, data.end_of_text: END_OF_TEXT}
    order = sorted(range(problems), key=lambda number: (len(data.prompts[number]), number))
    place = {number: index for index, number in enumerate(order)}
    requests = []
    for sample in range(samples):
        for number in range(problems):
            other = order[(place[number] + sample) % problems]
            script = tuple(marks.get(token, token % 10) for token in data.written[other])
            prompt = [token % 10 for token in data.prompts[number]]
            requests.append(Request(f"problem/{number}/{sample}", prompt, script=script))
    return requests


def _batches(requests: Sequence[Request], rows: int) -> Iterator[list[Request]]:
    """Requests bucket by bucket, in the order they are in."""
    lower, upper = 0, 32
    while lower < max(len(request.prompt) for request in requests):
        members = [request for request in requests if lower < len(request.prompt) <= upper]
        for start in range(0, len(members), rows):
            yield members[start : start + rows]
        lower, upper = upper, 2 * upper


def _compared(ways: dict[str, Work]) -> dict[str, Any]:
    result: dict[str, Any] = {
        name: {"utilisation": significant(work.utilisation), "steps": work.steps}
        for name, work in ways.items()
    }
    ratio = ways["batches"].steps / ways["continuous"].steps
    return result | {"ratio_of_steps": significant(ratio)}


def _draw(sampler: Sampler, data, arguments: Any, results: Results) -> None:
    """The picture, and what it shows as figures."""
    slots = arguments.picture_slots
    problems = min(arguments.picture_problems, len(data.prompts))
    asked = _requests(data, problems, 1)
    ways = {"batches": sampler.batches(asked, slots), "continuous": sampler.run(asked, slots)}
    slots_picture.draw(ways, arguments.picture)
    for name, work in ways.items():
        results.add("picture", name, {"rows": work.rows, "steps": work.steps})
    results.add("picture", "figures", _compared(ways) | {"slots": slots, "problems": problems})
