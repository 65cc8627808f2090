"""Our side of sampling: continuous batching, as the evaluation of a run calls it."""

# Before jax is imported, as in the real command.
from distill_jax import devices

devices.keep_freed_memory()

import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402
from unittest import mock  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

from benchmarks.sample_job import ROLES, SampleJob, SampleSetting, written_tokens  # noqa: E402
from distill_jax.dialogues import sampler  # noqa: E402
from distill_jax.model import hugging_face, network, sharding  # noqa: E402
from distill_jax.sampling import decode, generate  # noqa: E402
from distill_jax.sampling.dialogues import Dialogue, Request  # noqa: E402
from distill_jax.sampling.schedule import Work  # noqa: E402
from distill_jax.text.rows import View  # noqa: E402
from distill_jax.text.transcript import SCHEMES  # noqa: E402

COMPILED = "/jax/core/compile/backend_compile_duration"


class Ids(NamedTuple):
    """What `sampler.make_rules` asks a tokenizer."""

    end_of_turn: int
    end_of_text: int
    size: int


class Loop:
    """See `peers.Peer`: `run(job)` for a `SampleJob`, whose `batch_size` counts slots."""

    def __init__(self, setting: SampleSetting):
        if setting.device == "cpu":
            jax.config.update("jax_platforms", "cpu")
        elif jax.default_backend() != "gpu":
            raise RuntimeError(f"jax has no GPU here, only {jax.default_backend()}")
        self._dtype = setting.dtype
        self._mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
        self._models, self._params = {}, {}
        for role, directory in zip(ROLES, setting.weights, strict=True):
            source = hugging_face.find(directory, "benchmark")
            self._models[role] = source.model
            params = hugging_face.load_params(source, source.model.vocab_size)
            place = NamedSharding(self._mesh, PartitionSpec())
            self._params[role] = jax.device_put(params, place)
        self._compiling = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._on_event)
        self._sampler: Any = None
        self._sampler_of: Any = None

    def prepare(self, job: SampleJob) -> dict[str, Any]:
        """Make the sampler of this job. Its programs are compiled where a first `run` needs them:
        there is one for every length of prompts and of caches."""
        settings = (job.caps, job.batch_size, job.temperature, job.attention)
        if settings != self._sampler_of:
            self._sampler = None  # its parameters are a copy: let them go first
            self._sampler, self._sampler_of = self._make_sampler(job), settings
        return {"device": jax.devices()[0].device_kind}

    def run(self, job: SampleJob) -> dict[str, Any]:
        """Write every dialogue.

        seconds    from prompts as lists to tokens as lists
        tokens     written, end marks included
        problems   prompts
        ok         forced dialogues came back as they were, and finished; True if none are
        mean_log_probability  of a token that was written
        compile_s  of these seconds, those in which programs were compiled
        work       what was done: `generate.Work`
        """
        self.prepare(job)
        self._compiling = 0.0
        start = time.perf_counter()
        dialogues, work = self._write(job)
        tokens = [written_tokens(dialogue, job.caps) for dialogue in dialogues]
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "tokens": sum(map(len, tokens)),
            "problems": len(job.prompts),
            "ok": _as_forced(job, dialogues, tokens),
            "mean_log_probability": _mean_log_probability(dialogues),
            "compile_s": round(self._compiling, 2),
            "work": _figures(work),
        }

    def profile(self, job: SampleJob) -> dict[str, Any]:
        """Where the seconds of a run go, all programs compiled before; see `_Clock`.

        What is left of `seconds` is admission, other lengths of caches, and the host.
        """
        self.prepare(job)
        clocks = {name: _Clock(getattr(decode, name)) for name in ("prefill", "decode_chunk")}
        start = time.perf_counter()
        with mock.patch.multiple(decode, **clocks):
            _, work = self._write(job)
        return {
            "seconds": time.perf_counter() - start,
            "prefill_s": clocks["prefill"].seconds,
            "decode_s": clocks["decode_chunk"].seconds,
            "decode_bytes": self._decode_bytes(work),
        } | _figures(work)

    def bandwidth(self, size: int) -> float:
        """Bytes per second of a copy of `size` bytes, read and written; the median of 20."""
        array = jnp.zeros(size // 4, jnp.float32)
        copy = jax.jit(lambda x: x + 1, donate_argnums=0)
        seconds = []
        for _ in range(23):
            start = time.perf_counter()
            array = jax.block_until_ready(copy(array))
            seconds.append(time.perf_counter() - start)
        return 2 * array.nbytes / statistics.median(seconds[3:])

    def device_memory(self, _: None) -> float | None:
        """Peak MiB of the accelerator, if that is counted."""
        stats = jax.devices()[0].memory_stats() or {}
        peak = stats.get("peak_bytes_in_use")
        return None if peak is None else round(peak / 2**20)

    def _write(self, job: SampleJob) -> tuple[list[Dialogue], Work]:
        """Dialogues prompt by prompt, each with all of its samples."""
        samples = tuple(range(job.samples))
        scripts = job.forced or [[]] * len(job.prompts)
        requests = [
            Request(f"problem/{number}", prompt, samples, tuple(script))
            for number, (prompt, script) in enumerate(zip(job.prompts, scripts, strict=True))
        ]
        with jax.set_mesh(self._mesh):
            dialogues, work = generate.collect(self._sampler.job(requests))
        return [dialogue for group in dialogues for dialogue in group], work

    def _make_sampler(self, job: SampleJob) -> sampler.Sampler:
        caps, scheme = job.caps, SCHEMES["socratic"]
        views = [View(role, frozenset(ROLES), (number,)) for number, role in enumerate(ROLES)]
        settings = sampler.Settings(
            temperature=job.temperature,
            top_k=0,
            top_p=1.0,
            samples=job.samples,
            seed=0,
            max_turns=caps.max_turns,
            max_turn_tokens=caps.max_turn_tokens,
            max_tokens=caps.max_tokens,
            slots=job.batch_size,
            dtype=self._dtype,
            attention=job.attention,
            calculator=False,
            given="",
            given_steps=0,
        )
        ids: Any = Ids(caps.end_of_turn, caps.end_of_text, caps.vocab_size)
        rules = sampler.make_rules(scheme, views, self._models, ids, settings)
        with jax.set_mesh(self._mesh):
            return sampler.Sampler(rules, scheme, ids, self._params, settings, seed=0)

    def _decode_bytes(self, work: Work) -> int:
        """The least that decode steps can read: at each the students' parameters, once, and the
        filled places of the caches of the rows that write."""
        numbers = sum(  # of positions a step reads a few rows only
            network.parameter_count(model) - model.looked_up_weights
            for model in self._models.values()
        )
        place = network.cache_bytes(
            next(iter(self._models.values())), 1, self._sampler.rules.cache_dtype
        )
        return work.steps * numbers * jnp.dtype(self._dtype).itemsize + work.cache_slots * place

    def _on_event(self, event: str, seconds: float, **_: Any) -> None:
        if event == COMPILED:
            self._compiling += seconds


class _Clock:
    """A function with the seconds that the device spends in it.

    It waits for what was handed to the device before, and for its own results, so that calls do
    not overlap: the sum of the parts is a little more than a run takes.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        jax.block_until_ready(arguments)
        start = time.perf_counter()
        result = jax.block_until_ready(self._function(*arguments))
        self.seconds += time.perf_counter() - start
        return result


def _as_forced(job: SampleJob, dialogues: list[Dialogue], tokens: list[list[int]]) -> bool:
    if job.forced is None:
        return True
    wanted = [script for script in job.forced for _ in range(job.samples)]
    return tokens == wanted and all(dialogue.status == "finished" for dialogue in dialogues)


def _mean_log_probability(dialogues: list[Dialogue]) -> float:
    turns = [turn for dialogue in dialogues for turn in dialogue.turns]
    return sum(turn.log_probability for turn in turns) / sum(turn.written for turn in turns)


def _figures(work: Work) -> dict[str, Any]:
    names = ("slots", "window", "steps", "kept_tokens", "prefill_tokens", "cache_slots")
    figures: dict[str, Any] = {name: getattr(work, name) for name in names}
    return figures | {"utilisation": work.utilisation}
