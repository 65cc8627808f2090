"""Every program is compiled once: counted over a whole process, train to report."""

import json
import subprocess
import sys

from experiment_runs import ROOT, TINY, environment

SCRIPT = """
import collections, json, sys
import jax
counts = collections.Counter()
def listen(event, seconds, **more):
    if event == "/jax/core/compile/backend_compile_duration":
        counts[more["fun_name"]] += 1
jax.monitoring.register_event_duration_secs_listener(listen)
from distill_jax import errors, main
for workdir, steps in zip(sys.argv[1:3], ("10", "30")):
    counts.clear()
    arguments = [*sys.argv[3:], f"--config.train.steps={steps}", "--workdir", workdir]
    assert errors.run_command(main.main, arguments) == 0
    print("COMPILED", json.dumps(counts))
"""


def test_one_compilation_per_program_and_bucket(tmp_path):
    """Two students, prompts of two bucket lengths; then three times as many training steps."""
    arguments = [*TINY, "--config.train.eval_every=5"]
    command = [sys.executable, "-c", SCRIPT, tmp_path / "a", tmp_path / "b", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    first, second = (
        json.loads(line.removeprefix("COMPILED "))
        for line in done.stdout.split("\n")
        if line.startswith("COMPILED")
    )
    per_student = {"jit(train_step)": 2, "jit(dev_step)": 2, "jit(<lambda>)": 2}  # the last: init
    assert {name: first[name] for name in per_student} == per_student
    # Prompts of 32 and 48 tokens, one length of the caches.
    sampler = {"jit(prefill)": 2, "jit(admit)": 2, "jit(decode_chunk)": 1, "jit(empty_state)": 1}
    assert {name: first[name] for name in sampler} == sampler, first
    # In the second run of the process, with the same buckets, nothing else is compiled: no step,
    # no measurement and no log line has a program of its own.
    assert second == per_student
