"""Memory of a compiled training step with the loss in chunks and all at once; JSON on the terminal.

    python -m benchmarks.loss_memory [--preset gpt2] [--rows 8] [--length 1024]

Nothing is trained: the step is compiled from shapes, and the compiler says what it needs.
tests/test_step.py tests that loss and gradients agree.
"""

import argparse
import dataclasses
import json

import jax
import jax.numpy as jnp

from distill_jax.model import sharding
from distill_jax.model.network import NetworkConfig
from distill_jax.model.presets import PRESETS
from distill_jax.training import optimizer, step
from distill_jax.training.objective import Likelihood

VOCABULARY = 50_304


def temporaries(config: NetworkConfig, rows: int, length: int, chunk: int) -> int:
    """Bytes of temporaries of a compiled float32 step whose every token is a loss token."""
    made = optimizer.make_optimizer(
        lambda count: 1e-4, b1=0.9, b2=0.95, epsilon=1e-8, weight_decay=0.1, clip_norm=1.0
    )
    allowed = jnp.ones((1, VOCABULARY), bool)
    trainer = step.Trainer(
        config, made, step.Computation(loss_chunk=chunk), allowed, 0, Likelihood()
    )
    names = ("inputs", "segments", "positions", "loss_positions", "targets", "writers")
    batch = {name: jax.ShapeDtypeStruct((rows, length), jnp.int32) for name in names}
    batch["weights"] = jax.ShapeDtypeStruct((rows, length), jnp.float32)
    mesh = sharding.make_mesh(-1, 1, 1)
    with jax.set_mesh(mesh):
        abstract = step.abstract_state(mesh, config, made)
        compiled = step.lower_step(mesh, abstract, batch, {}, trainer).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return int(analysis.temp_size_in_bytes)


def main() -> None:
    """Compile twice, print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="gpt2", choices=PRESETS)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--chunk", type=int, default=1024)
    arguments = parser.parse_args()
    config = dataclasses.replace(PRESETS[arguments.preset], vocab_size=VOCABULARY)
    whole = arguments.rows * arguments.length
    sizes = {
        name: temporaries(config, arguments.rows, arguments.length, chunk)
        for name, chunk in (("in_chunks", arguments.chunk), ("all_at_once", whole))
    }
    print(json.dumps(vars(arguments) | {"temporary_bytes": sizes, "jax": jax.__version__}))


if __name__ == "__main__":
    main()
