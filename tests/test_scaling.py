"""The table of compiled training steps: what is tried, what is kept, and its page."""

import json
import pathlib

import pytest

from benchmarks import scaling, scaling_options, scaling_page
from distill_jax.chips import CHIPS


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
        "libtpu": "0.0",
    } | others


def test_layouts_by_rule():
    names = [option.name for option in scaling_options.training_options("gpt2", "v5e:2x4")]
    assert names == ["data", "data-remat", "fsdp", "fsdp-remat"]
    # 1,600 divides by 64 only, so 256 devices are 4 x 64.
    xl = scaling_options.training_options("gpt2-xl", "v5e:16x16")[2]
    assert (xl.data, xl.fsdp, xl.remat) == (4, 64, False)


def test_least_memory_by_hand():
    size = {"layers": 2, "heads": 2, "width": 8, "context": 16}
    parameters = 2 * 12 * 64 + (50_304 + 16) * 8
    inputs = 2 * 8 * 1024 * 8 * 2  # layers, rows, tokens, width, bytes
    assert scaling_options.least_training_memory(size, 1, remat=True) == 16 * parameters + inputs
    assert (
        scaling_options.least_training_memory(size, 4, remat=False) == 4 * parameters + 10 * inputs
    )


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
    row = next(line for line in text.split("\n") if line.startswith("| v5e:2x4"))
    assert (
        "| 8 x 1 | yes | 1.50 | 0.76 | 16 | 1.58e+15 | 381 | 2 | **1000.0** | 1.0 | 2.0 | 5 |"
        in row
    )
    assert text.index("| v5e:2x4") < text.index("| v4:2x2x2 | not compiled yet")
    assert "- gpt2 v5e:2x4, data 8 x fsdp 1: compiled, with a peak of 20.0 GiB" in text
