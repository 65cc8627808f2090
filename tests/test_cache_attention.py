"""Attention with a cache: its two ways of laying a cache out, and what a TPU's compiler says."""

import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiment_runs import ROOT, environment

from distill_jax.model import attention

ROWS, HEADS, SLOTS, SIZE = 3, 2, 16, 8


def test_both_layouts_write_one_slot_and_attend_to_what_is_filled():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, ROWS, HEADS, SIZE)).astype(np.float32)
    cache = {name: rng.normal(size=(ROWS, HEADS, SLOTS, SIZE)).astype(np.float32) for name in "kv"}
    position = np.array([0, 7, SLOTS + 5], np.int32)  # the last is past the end: the last slot
    written = {name: array.copy() for name, array in cache.items()}
    expected = np.empty_like(q)
    for row, slot in enumerate([0, 7, SLOTS - 1]):
        written["k"][row, :, slot], written["v"][row, :, slot] = k[row], v[row]
        for head in range(HEADS):
            keys, values = (written[name][row, head, : slot + 1] for name in "kv")
            weights = np.exp(keys @ q[row, head] / np.sqrt(SIZE))
            expected[row, head] = weights @ values / weights.sum()
    for attend in (attention.attend_slots_first, attention.attend_slots_last):
        attended, new = jax.jit(attend)(q, {"k": k, "v": v}, cache, position)
        np.testing.assert_allclose(attended, expected, rtol=2e-6, atol=2e-6)
        for name in "kv":
            np.testing.assert_array_equal(new[name], written[name])


def test_caches_keep_their_dtype_and_queries_theirs():
    q = jnp.ones((ROWS, HEADS, SIZE), jnp.float32)
    cache = {name: jnp.zeros((ROWS, HEADS, SLOTS, SIZE), jnp.bfloat16) for name in "kv"}
    attended, new = attention.attend_cache(q, q, q, cache, jnp.zeros(ROWS, jnp.int32))
    assert attended.dtype == jnp.float32
    assert all(array.dtype == jnp.bfloat16 for array in new.values())


COMPILED_FOR_A_TPU = """
import json
from distill_jax import ahead_of_time, dry_run_sampler
from distill_jax.model import gpt2
from distill_jax.sampling.plan import DialoguePlan, ViewPlan

model = gpt2.GPT2Config(256, context=512, layers=2, heads=4, width=256)  # heads of 64
plan = DialoguePlan(
    views=(ViewPlan("solver", model, (True,)),), role_view=(0,), next_role=(0,), may_pass=(False,),
    may_end=(True,), end_of_turn=0, end_of_text=1, vocab_size=250, max_turns=1, max_turn_tokens=64,
    max_tokens=64, dtype="bfloat16",
)
target = ahead_of_time.topology_target("v5e:2x4", {"data": 8, "fsdp": 1, "tensor": 1})
report = dry_run_sampler.measure(target, dry_run_sampler.SamplerJob(plan, 512, 64, 512))
print(json.dumps(report["programs"]["decode_chunk"]["memory"]))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (pip install 'distill-jax[tpu]')",
)
def test_a_tpu_decodes_without_a_second_copy_of_the_caches():
    """With slots before the numbers of a head it copied them all, into twice the memory."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILED_FOR_A_TPU],
        cwd=ROOT, env=environment(flags=""), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    memory = json.loads(done.stdout.strip().split("\n")[-1])
    # Layers, keys and values, rows of a device, heads, slots, numbers of a head, bytes.
    caches = 2 * 2 * 64 * 4 * 512 * 64 * 2
    assert caches <= memory["aliased"] < 1.1 * caches
    assert memory["temporaries"] < 0.1 * caches
