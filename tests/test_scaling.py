"""The table of compiled training steps: what is tried, what is kept, and its page."""

import json
import pathlib

import pytest

from benchmarks import scaling, scaling_page
from benchmarks.scaling_options import (
    config,
    device_count,
    least_sampler_memory,
    least_training_memory,
    sampler_options,
    training_options,
)
from distill_jax.devices import CHIPS
from distill_jax.model.gpt2 import GPT2Config


def report(peak: int, **others) -> dict:
    """A compiled step on 8 devices that fits."""
    return {
        "mesh": {"data": 8, "fsdp": 1, "tensor": 1},
        "remat": False,
        "useful_flops": 8 * 197e12,
        "recomputed_flops": 0,
        "fits": True,
        "memory": {"peak": peak, "arguments": 819 * 10**6, "outputs": 0},
        "collective_totals": {"exact": True, "kinds": {"all-reduce": {"sent": 400 * 10**6}}},
        "rematerialisations": 2,
        "compile_cpu_seconds": 5.0,
        "compiler": "libtpu 0.0",
    } | others


def sampler_report(**others) -> dict:
    """A compiled sampler on 8 devices that fits."""
    sent = {"all-reduce": {"count": 3, "sent": 2 << 20}, "all-gather": {"count": 1, "sent": 0}}
    return {
        "mesh": {"data": 8, "fsdp": 1, "tensor": 1},
        "remat": False,
        "slots": 512,
        "fits": True,
        "peak": 3 << 29,
        "programs": {"decode_chunk": {"memory": {"aliased": 3 << 28}}},
        "step": {
            "flops": 123456789,
            "weight_bytes": 1 << 29,
            "cache_bytes": 1 << 30,
            "collectives": sent,
            "roofline_ms": {"compute": 0.25, "memory": 2.0, "links": 0.125},
            "tokens_per_second": 256_000,
        },
        "rematerialisations": 0,
        "compile_cpu_seconds": 50.0,
        "compiler": "libtpu 0.0",
    } | others


def test_layouts_by_rule():
    names = [option.name for option in training_options("gpt2", "v5e:2x4")]
    assert names == ["data", "data-remat", "fsdp", "fsdp-remat"]
    # 1,600 divides by 64 only, so 256 devices are 4 x 64.
    xl = training_options("gpt2-xl", "v5e:16x16")[2]
    assert (xl.data, xl.fsdp, xl.remat) == (4, 64, False)


def test_least_memory_by_hand():
    size = GPT2Config(50_304, context=16, layers=2, heads=2, width=8)
    parameters = 2 * 12 * 64 + (50_304 + 16) * 8
    inputs = 2 * 8 * 1024 * 8 * 2  # layers, rows, tokens, width, bytes
    assert least_training_memory(size, 1, remat=True) == 16 * parameters + inputs
    assert least_training_memory(size, 4, remat=False) == 4 * parameters + 10 * inputs


def test_least_memory_of_a_gated_mlp_and_few_key_heads_by_hand():
    size = config("smollm2-135m")
    blocks = 30 * (576 * 64 * (9 + 3 + 3 + 9) + 3 * 576 * 1536)
    parameters = blocks + 49_152 * 576  # 134,515,008 without the norms
    assert 134_515_008 - parameters == (2 * 30 + 1) * 576
    kept = 2 * 576 + 64 * (2 * 9 + 2 * 3) + 2 * 1536  # two inputs, q, k, v, result, gate and up
    remat = 16 * parameters + 2 * 576 * 30 * 8 * 1024
    assert least_training_memory(size, 1, remat=True) == remat
    assert least_training_memory(size, 1, remat=False) == remat + 2 * (kept - 576) * 30 * 8 * 1024
    caches = 64 * (384 + 512) * 2 * 30 * 3 * 64
    assert least_sampler_memory(size, 1, 64) == 2 * 2 * (parameters + caches)


def test_least_memory_of_the_sampler_by_hand():
    size = GPT2Config(50_304, context=16, layers=2, heads=2, width=8)
    parameters = 2 * 12 * 64 + (50_304 + 16) * 8
    caches = 64 * (384 + 512) * 2 * 2 * 8  # slots, tokens, k and v, layers, width
    assert least_sampler_memory(size, 1, 64) == 2 * 2 * (parameters + caches)  # students, bytes
    assert least_sampler_memory(size, 4, 16) == 2 * 2 * (parameters // 4 + caches // 4)
    layouts = [
        (option.name, option.data, option.fsdp, option.slots)
        for option in sampler_options("gpt2-xl", "v5e:16x16")
    ]
    assert layouts[:3] == [("data", 256, 1, 64), ("fsdp", 4, 64, 64), ("data-32", 256, 1, 32)]
    assert [name for name, *_ in layouts] == [*scaling_page.SAMPLER_OPTIONS]
    assert device_count("H100:8") == 8


def test_roofline_by_hand():
    times = scaling_page.roofline(report(1), CHIPS["v5e"], 8)
    assert times == pytest.approx({"compute": 1.0, "memory": 1e-3, "links": 2e-3})


def test_a_cell_is_filled_option_by_option_and_failures_are_tried_again(monkeypatch):
    answers = iter([{"failed": "exit code 1: "}, {"fits": False, "needed_bytes": 5}, report(9)])
    tried = []

    def compiled(part, model, topology, name):
        tried.append(name)
        return next(answers)

    monkeypatch.setattr(scaling, "_in_process", compiled)
    cell = {}
    rounds = [scaling.fill_cell(cell, "train", "gpt2-large", "v5e:2x4") for _ in range(4)]
    # "data" cannot fit by arithmetic, so nothing is compiled for it.
    assert tried == ["data-remat", "data-remat", "fsdp"]
    assert rounds == [False, True, True, False]
    assert cell["data"]["least_bytes"] > 16 << 30 and cell["fsdp"]["fits"] is True


def test_page_from_known_cells(tmp_path):
    path: pathlib.Path = tmp_path / "scaling.md"
    table = {
        "machine": {"processor": "P", "versions": {"jax": "0.1"}},
        "cells": {
            "gpt2 v4:2x2x2": {},
            "gpt2 v5e:2x4": {
                "data": report(0, fits=False, memory={"peak": 20 << 30}),
                "data-remat": report(3 << 29, remat=True),
            },
        },
    }
    scaling_page.write(path, json.loads(json.dumps(table)))
    text = path.read_text()
    assert "decode step" not in text
    row = next(line for line in text.split("\n") if line.startswith("| v5e:2x4"))
    assert (
        "| 8 x 1 | yes | 1.50 | 0.76 | 16 | 1.58e+15 | 381 | 2 | **1000.0** | 1.0 | 2.0 | 5 |"
        in row
    )
    assert text.index("| v5e:2x4") < text.index("| v4:2x2x2 | not compiled yet")
    assert "- gpt2 v5e:2x4, data 8 x fsdp 1: compiled, with a peak of 20.0 GiB" in text


def test_page_of_the_sampler(tmp_path):
    path: pathlib.Path = tmp_path / "scaling.md"
    refused = {"mesh": report(0)["mesh"], "remat": False, "fits": False, "least_bytes": 24 << 30}
    cells = {
        "gpt2-xl v5e:2x4": {
            "data": refused | {"slots_per_device": 64},
            "fsdp": sampler_report(fits=False, peak=20 << 30),
            "data-32": refused | {"slots_per_device": 32}, "data-16": refused, "data-8": refused,
        },
        "gpt2 v5e:2x4": {"data": sampler_report()},
    }  # fmt: skip
    table = {"machine": {"processor": "P", "versions": {"jax": "0.1"}}, "cells": {}}
    scaling_page.write(path, table | {"sampler_cells": cells})
    text = path.read_text()
    assert (
        "| v5e:2x4 | 512 | 8 x 1 | 1.50 | 0.75 | 16 | 1.23e+08 | 1,536 | 3 all-reduce, 1 all-gather"
        " | 2.0 | 0 | 0.25 | **2.00** | 0.12 | 256,000 | 50 |" in text
    )
    assert text.index("### gpt2\n") < text.index("### gpt2-xl") < text.index("| does not fit")
    assert "- gpt2-xl v5e:2x4, data 8 x fsdp 1, 32 slots: at least 24.0 GiB by arithmetic" in text
    assert "compiled, with a peak of 20.0 GiB" in text


def test_results_of_training_alone_go_on_with_the_sampler(tmp_path, monkeypatch):
    results = tmp_path / "scaling.json"
    old = {"cells": {"gpt2 v5e:2x4": {"data": report(9)}}, "machine": {}}
    results.write_text(json.dumps(old))
    tried = []

    def compiled(*one):
        tried.append(one)
        return sampler_report()

    monkeypatch.setattr(scaling, "_in_process", compiled)
    arguments = ["scaling", "--models=gpt2", "--topologies=v5e:2x4", f"--results={results}"]
    monkeypatch.setattr("sys.argv", [*arguments, f"--page={tmp_path / 'scaling.md'}"])
    for _ in range(2):  # the second finds nothing left to compile
        scaling.main()
        assert tried == [("sample", "gpt2", "v5e:2x4", "data")]
    new = json.loads(results.read_text())
    assert new["cells"] == old["cells"] and new["sampler_cells"].keys() == {"gpt2 v5e:2x4"}
