"""Attention with a cache: layouts, the kernel that reads what is filled, what compilers say."""

import functools
import importlib.util
import json
import subprocess
import sys

import cuda_compiler
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiment_runs import ROOT, TINY, environment, one_error_line, run
from tiny_student import make_mesh

from distill_jax.errors import UserError
from distill_jax.model import cache_attention

ROWS, HEADS, SLOTS, SIZE = 3, 2, 16, 8


@pytest.mark.parametrize("group", [1, 3])
def test_both_layouts_write_one_slot_and_attend_to_what_is_filled(group):
    """`group` queries read the same keys."""
    rng = np.random.default_rng(0)
    q = rng.normal(size=(ROWS, group * HEADS, SIZE)).astype(np.float32)
    k, v = rng.normal(size=(2, ROWS, HEADS, SIZE)).astype(np.float32)
    cache = {name: rng.normal(size=(ROWS, HEADS, SLOTS, SIZE)).astype(np.float32) for name in "kv"}
    position = np.array([0, 7, SLOTS + 5], np.int32)  # the last is past the end: the last slot
    written = {name: array.copy() for name, array in cache.items()}
    expected = np.empty_like(q)
    for row, slot in enumerate([0, 7, SLOTS - 1]):
        written["k"][row, :, slot], written["v"][row, :, slot] = k[row], v[row]
        for head in range(group * HEADS):
            keys, values = (written[name][row, head // group, : slot + 1] for name in "kv")
            weights = np.exp(keys @ q[row, head] / np.sqrt(SIZE))
            expected[row, head] = weights @ values / weights.sum()
    last = functools.partial(cache_attention.attend_slots_last, interpret=True)
    for attend in (cache_attention.attend_slots_first, last):
        with jax.set_mesh(make_mesh()):
            attended, new = jax.jit(attend)(q, {"k": k, "v": v}, cache, position)
        np.testing.assert_allclose(attended, expected, rtol=2e-6, atol=2e-6)
        for name in "kv":
            np.testing.assert_array_equal(new[name], written[name])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("slots", [16, 128, 320])
def test_the_kernel_that_writes_changes_one_slot_of_each_row(slots, dtype):
    """The first and the last lane of a tile, a tile that is not full, and past the end."""
    position = np.array([0, 127, 128, slots - 1, slots + 9], np.int32)
    rng = np.random.default_rng(2)
    new = {name: jnp.asarray(rng.normal(size=(5, 3, SIZE)), dtype) for name in "kv"}
    cache = {name: jnp.asarray(rng.normal(size=(5, 3, SIZE, slots)), dtype) for name in "kv"}
    written = cache_attention.write_lanes(new, cache, jnp.asarray(position), interpret=True)
    for name in "kv":
        expected = np.array(cache[name])
        for row, slot in enumerate(np.minimum(position, slots - 1)):
            expected[row, :, :, slot] = new[name][row]
        np.testing.assert_array_equal(written[name], expected)


@pytest.mark.parametrize("slots_last", [False, True])
@pytest.mark.parametrize("heads", [3, 6])
@pytest.mark.parametrize("first", [0, 9, 12, 14])
def test_several_tokens_are_as_one_after_another(first, heads, slots_last):
    """Places 12 and 14: some tokens are past the end of 16 slots, and change nothing."""
    rng = np.random.default_rng(4)

    def numbers(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    q, k, v = numbers(2, 6, heads, SIZE), numbers(2, 6, 3, SIZE), numbers(2, 6, 3, SIZE)
    before = {name: numbers(2, 3, 16, SIZE) for name in "kv"}
    starts = jnp.array([first, 3])  # each row has its own
    places = starts[:, None] + jnp.arange(6)
    attend = functools.partial(cache_attention.attend_several, slots_last=slots_last)
    several, written = jax.jit(attend)(q, k, v, before, places)
    for row in range(2):
        cache = {name: array[row : row + 1] for name, array in before.items()}
        for token in range(min(6, 16 - int(starts[row]))):
            one = [x[row : row + 1, token : token + 1] for x in (q, k, v)]
            place = places[row : row + 1, token : token + 1]
            attended, cache = cache_attention.attend_cache("xla", *one, cache, place)
            np.testing.assert_allclose(several[row, token], attended[0, 0], rtol=2e-6, atol=2e-6)
        for name in "kv":
            np.testing.assert_array_equal(written[name][row], cache[name][0])


def test_caches_keep_their_dtype_and_queries_theirs():
    q = jnp.ones((ROWS, 1, HEADS, SIZE), jnp.float32)
    cache = {name: jnp.zeros((ROWS, HEADS, SLOTS, SIZE), jnp.bfloat16) for name in "kv"}
    attended, new = cache_attention.attend_cache("xla", q, q, q, cache, jnp.zeros((ROWS, 1), int))
    assert attended.dtype == jnp.float32
    assert all(array.dtype == jnp.bfloat16 for array in new.values())


@pytest.mark.parametrize("slots", [64, 192])
def test_the_kernel_reads_only_blocks_that_hold_something(slots):
    block = cache_attention.BLOCK
    rng = np.random.default_rng(1)
    q = jnp.asarray(rng.normal(size=(4, 3, 16)), jnp.bfloat16)
    k, v = (jnp.asarray(rng.normal(size=(4, 3, slots, 16)), jnp.bfloat16) for _ in "kv")
    position = np.array([0, 5, block - 1, slots + 3], np.int32)  # the last is past the end
    filled = np.minimum(position + 1, slots)
    # What lies in blocks behind the position would spoil the result, were it looked at.
    read = -(-filled // block) * block
    spoilt = np.arange(slots) >= read[:, None]
    k_spoilt, v_spoilt = (jnp.where(spoilt[:, None, :, None], jnp.nan, cache) for cache in (k, v))
    attended = cache_attention.attend_filled_slots(q, k_spoilt, v_spoilt, position, interpret=True)
    assert attended.dtype == jnp.bfloat16
    for row, count in enumerate(filled):
        for head in range(3):
            keys, values = (np.float32(cache[row, head, :count]) for cache in (k, v))
            weights = np.exp(keys @ np.float32(q[row, head]) / 4)
            expected = weights @ values / weights.sum()
            # Weights, sum and quotient are rounded to 8 bits each.
            np.testing.assert_allclose(np.float32(attended[row, head]), expected, atol=0.02)
    shorter = cache_attention.attend_filled_slots(
        q[:3], k[:3, :, :block], v[:3, :, :block], position[:3], interpret=True
    )
    np.testing.assert_array_equal(attended[:3], shorter)


@pytest.mark.parametrize(
    ("platform", "dtype", "head_dim", "message"),
    [
        ("cpu", "bfloat16", 64, "runs on GPUs, not on cpu"),
        ("gpu", "float32", 64, "takes config.sampling.dtype=bfloat16, not float32"),
        ("gpu", "bfloat16", 8, r"takes heads \(width / heads\) of 16, 32, 64, ..., not 8"),
        ("gpu", "bfloat16", 48, r"takes heads \(width / heads\) of 16, 32, 64, ..., not 48"),
    ],
)
def test_what_the_kernel_cannot_do_is_said(platform, dtype, head_dim, message):
    cache_attention.check_kernel("triton", "gpu", "bfloat16", 64)
    cache_attention.check_kernel("xla", platform, dtype, head_dim)
    with pytest.raises(
        UserError, match=rf"config\.sampling\.attention=triton {message}: xla can do that"
    ):
        cache_attention.check_kernel("triton", platform, dtype, head_dim)


def test_a_kernel_that_does_not_run_here_is_refused_before_the_training(tmp_path):
    arguments = ["--config.sampling.attention=triton", "--config.sampling.dtype=bfloat16"]
    done = run("main", *TINY, *arguments, "--workdir", tmp_path / "w")
    assert "=triton runs on GPUs, not on cpu: xla can do that" in one_error_line(done)
    assert not (tmp_path / "w").exists()


COMPILED = """
import json, sys
from distill_jax.dry_run import ahead_of_time, sampler_programs
from distill_jax.model import gpt2
from distill_jax.sampling.turn_rules import TurnRules, ViewRules

model = gpt2.GPT2Config(256, context=512, layers=2, heads=4, width=256)  # heads of 64
plan = TurnRules(
    views=(ViewRules("solver", model, (True,)),), role_views=((0,),), next_role=(0,),
    may_pass=(False,), may_end=(True,), end_of_turn=0, end_of_text=1, vocab_size=250, max_turns=1,
    max_turn_tokens=64, max_tokens=64, dtype="bfloat16", kernel=sys.argv[2],
)
target = ahead_of_time.topology_target(sys.argv[1], {"data": 8, "fsdp": 1, "tensor": 1})
report = sampler_programs.measure(target, sampler_programs.SamplerJob(plan, 512, 64, 512))
print(json.dumps(report["programs"]["decode_chunk"]))
"""


A_TPU = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (pip install 'distill-jax[tpu]')",
)


@pytest.mark.parametrize(
    ("topology", "kernel"),
    [
        # With slots before the numbers of a head it copied them all, into twice the memory.
        pytest.param("v5e:2x4", "xla", marks=A_TPU),
        pytest.param("H100:8", "xla", marks=cuda_compiler.needed),
        pytest.param("H100:8", "triton", marks=cuda_compiler.needed),
    ],
)
def test_accelerators_decode_without_a_second_copy_of_the_caches(topology, kernel):
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, topology, kernel],
        cwd=ROOT, env=environment(flags="") | cuda_compiler.environment(),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    program = json.loads(done.stdout.strip().split("\n")[-1])
    memory = program["memory"]
    # Layers, keys and values, rows of a device, heads, slots, numbers of a head, bytes.
    caches = 2 * 2 * 64 * 4 * 512 * 64 * 2
    assert caches <= memory["aliased"] < 1.1 * caches
    assert memory["temporaries"] < 0.1 * caches
    # The decode loop and no other: XLA would write into a TPU's caches row by row, in loops.
    assert sum(loop["loops"] for loop in program["loops"]) == 1
