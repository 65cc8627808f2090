"""Three seeds side by side in one program (vmap) against one after another; JSON on the terminal.

    python benchmarks/seeds_together.py --output seeds_together.json

The training step of the demo's solver on its own rows, from three initialisations and in three
orders: as `distill_jax.main` runs it, seed by seed, and vmapped over the three. Both do the same
updates on the same batches; rounds take turns, and medians are given: of the time that passed, and
of the processor time of all cores, which other programs on the machine change less.
"""

import argparse
import functools
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # so that it runs if the package is not installed
    sys.path.insert(0, str(ROOT))

# Before jax is imported, as in the real command.
from distill_jax import devices  # noqa: E402

devices.keep_freed_memory()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.results import Results, significant  # noqa: E402
from distill_jax.model import sharding  # noqa: E402
from distill_jax.run.annotation_sources import Desk  # noqa: E402
from distill_jax.run.preparation import prepare  # noqa: E402
from distill_jax.run.run import make_run  # noqa: E402
from distill_jax.run.student_setup import Place, StudentSetup  # noqa: E402
from distill_jax.settings import command_line  # noqa: E402
from distill_jax.teacher.settings import NOTHING  # noqa: E402
from distill_jax.tracking.terminal import Terminal  # noqa: E402
from distill_jax.training import step  # noqa: E402
from distill_jax.workdir import Workdir  # noqa: E402

STUDENT = "solver"
Batches = list[dict[str, np.ndarray]]


def main(arguments: Any) -> None:
    """Measure both, and say how much faster the seeds are together."""
    results = Results(arguments.output, arguments)
    setups = [setup(arguments, seed) for seed in range(arguments.seeds)]
    count = (arguments.repeats + 1) * arguments.steps  # the first round warms up
    batches = [[each.data[number] for number in range(count)] for each in setups]
    mesh = sharding.make_mesh(data=-1, fsdp=1, tensor=1)
    with jax.set_mesh(mesh):
        sides = {"apart": Apart(mesh, setups), "together": Together(mesh, setups)}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        processor: dict[str, list[float]] = {name: [] for name in sides}
        for first in range(0, count, arguments.steps):
            part = [own[first : first + arguments.steps] for own in batches]
            for name, side in sides.items():
                began, used = time.perf_counter(), time.process_time()
                side.run(part)
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - used)
    tokens = sum(int(b["length"].sum()) for own in batches for b in own) / (arguments.repeats + 1)
    for name, side in sides.items():
        median = statistics.median(seconds[name][1:])
        facts = {
            "tokens_per_second": significant(tokens / median),
            "round_s": [significant(each) for each in seconds[name][1:]],
            "tokens_per_processor_second": significant(
                tokens / statistics.median(processor[name][1:])
            ),
            "compile_s": significant(side.compile_s),
            "last_losses": side.losses[-1].tolist(),
        }
        results.add("seeds", name, facts)
    apart, together = (results.values["seeds"][name] for name in sides)
    for name, key in (
        ("speed_up", "tokens_per_second"),
        ("speed_up_per_processor_second", "tokens_per_processor_second"),
    ):
        results.add("seeds", name, significant(together[key] / apart[key]))
    gap = np.abs(np.array(sides["apart"].losses) - np.array(sides["together"].losses)).max()
    results.add("seeds", "largest_loss_difference", significant(float(gap)))
    results.show()


def setup(arguments: Any, seed: int) -> StudentSetup:
    """The student of the config with this seed, and its rows."""
    config = command_line.load_config(arguments.config)
    changes = {"seed": seed, "task_options.train_problems": arguments.problems}
    command_line.set_values(config, changes | {"data.dev_problems": 0})
    command_line.apply_overrides(config, dict(each.split("=", 1) for each in arguments.override))
    with tempfile.TemporaryDirectory() as nowhere:
        desk = Desk(make_run(config, Workdir(nowhere)), Terminal(), NOTHING)
        place = Place(sharding.make_mesh(**config.mesh), jax.default_backend())
        return prepare(desk, [STUDENT], place).setups[0]


def first_state(mesh: jax.sharding.Mesh, each: StudentSetup, seed: int) -> Any:
    """Random parameters of a seed, as a run begins with."""
    trainer = each.trainer
    abstract = step.abstract_state(mesh, trainer.config, trainer.optimizer)
    key = jax.random.key(seed)
    return step.random_state(abstract, trainer.config, trainer.optimizer, key)


class Apart:
    """One program, called seed by seed: all steps of a seed before the next one's."""

    def __init__(self, mesh: jax.sharding.Mesh, setups: list[StudentSetup]):
        trainer = setups[0].trainer
        abstract = step.abstract_state(mesh, trainer.config, trainer.optimizer)
        self._mesh = mesh
        self._states = [first_state(mesh, each, each.trainer.seed) for each in setups]
        self.losses: list[np.ndarray] = []  # [seeds] per step
        began = time.perf_counter()
        lowered = step.lower_step(mesh, abstract, setups[0].data.global_shapes(), {}, trainer)
        self._compiled = lowered.compile()
        self.compile_s = time.perf_counter() - began

    def run(self, batches: list[Batches]) -> None:
        """Batches of each seed; returns when all steps have ended."""
        losses = []
        for seed, own in enumerate(batches):
            for batch in own:
                placed = sharding.put_batch(self._mesh, batch)
                self._states[seed], metrics = self._compiled(self._states[seed], placed, {})
                losses.append(metrics["loss"])
            jax.block_until_ready(self._states[seed])
        self.losses += list(np.array(jax.device_get(losses)).reshape(len(batches), -1).T)


class Together:
    """One program for a step of all seeds: states and batches have a first axis of seeds."""

    def __init__(self, mesh: jax.sharding.Mesh, setups: list[StudentSetup]):
        states = [first_state(mesh, each, each.trainer.seed) for each in setups]
        self._states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        self.losses: list[np.ndarray] = []
        one = functools.partial(step.train_step, frozen={}, trainer=setups[0].trainer)
        shapes = {
            name: jax.ShapeDtypeStruct((len(setups), *each.shape), each.dtype)
            for name, each in setups[0].data.global_shapes().items()
        }
        began = time.perf_counter()
        lowered = jax.jit(jax.vmap(one), donate_argnums=0).lower(self._states, shapes)
        self._compiled = lowered.compile()
        self.compile_s = time.perf_counter() - began

    def run(self, batches: list[Batches]) -> None:
        """As `Apart.run`."""
        losses = []
        for parts in zip(*batches, strict=True):
            stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
            self._states, metrics = self._compiled(self._states, stacked)
            losses.append(metrics["loss"])
        jax.block_until_ready(self._states)
        self.losses += list(jax.device_get(losses))


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/demo.py", help="whose solver is trained")
    parser.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE", help="of the config"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="of each seed in a round")
    parser.add_argument("--repeats", type=int, default=5, help="timed rounds of each side")
    parser.add_argument("--problems", type=int, default=2000, help="training problems")
    parser.add_argument("--output", default="", help="a JSON file for the results")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
