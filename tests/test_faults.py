"""`kill -9` again and again at random moments of one run, until it is through all the same."""

import json
import random
import subprocess
import time

import pytest
from experiment_runs import ROOT, TINY, command, curve, environment, run, states

KILLS = 20
DROPOUT = [f"--config.model.{s}.residual_dropout=0.1" for s in ("decomposer", "solver")]
ARGUMENTS = [*TINY, *DROPOUT, "--config.train.save_every=4", "--config.data.packing=True"]


def last_line(workdir):
    """Where a killed run was: the last line of its log, or that there was none."""
    log = workdir / "log.jsonl"
    lines = log.read_text().split("\n") if log.exists() else []
    return json.loads(lines[-2])["message"][:60] if len(lines) > 1 else "before the first line"


@pytest.mark.slow
def test_twenty_kills_do_not_change_the_parameters(tmp_path):
    whole = run("main", *ARGUMENTS, "--workdir", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    rng = random.Random(0)
    workdir = tmp_path / "killed"
    moments = []
    for number in range(KILLS):
        process = subprocess.Popen(
            command("main", *ARGUMENTS, "--workdir", workdir),
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        # From the imports to some way beyond the first steps; later ones may find it finished.
        time.sleep(rng.uniform(1.0, 12.0))
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (-9, 0), errors
        moments.append(f"{number}: {last_line(workdir)}")
    print("\n".join(moments))
    done = run("main", *ARGUMENTS, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    assert states(workdir) == states(tmp_path / "whole")
    for name in ("train/solver/loss", "train/decomposer/loss", "dev/solver/loss"):
        assert curve(workdir, name) == curve(tmp_path / "whole", name)
    reports = [
        json.loads((path / "report.json").read_text()) | {"seconds": 0}
        for path in (workdir, tmp_path / "whole")
    ]
    assert reports[0] == reports[1]
