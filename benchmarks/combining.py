"""What votes, ensembles and switches of the runs of configs/sweeps/combining.py are worth.

    python -m distill_jax.sweep --config configs/sweeps/combining.py --workdir runs/combining
    python -m benchmarks.combining --workdir runs/combining

For s: the vote of three seeds, and the same students token by token (arithmetic and geometric
mean). From s to large, for every seed, and from the committee of all s: a switch whose threshold is
chosen on dev. DIR/combined has the combinations, DIR/report_combined the report on everything.
--dry_run shows the commands.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

SEEDS = (0, 1, 2)
SMALL, LARGE = "s", "large"
ARMS = ("s", "s_larger", "large")
DEV = "--config.evaluation.split=dev"


class Study:
    """The commands, which find the evaluations of commands before them."""

    def __init__(self, workdir: pathlib.Path, dry: bool):
        self._workdir, self._dry = workdir, dry

    def run(self) -> None:
        """All of it; what exists already is not made again."""
        dev = {run: self._evaluated(run, DEV) for run in self._of(SMALL, LARGE)}
        rows = {run.name: str(run) for run in self._of(*ARMS)}
        small, large = self._of(SMALL), self._of(LARGE)
        name = f"{SMALL}_vote"
        rows[name] = self._combined(name, "--rule=vote", *small)
        others = ",".join(str(run) for run in small[1:])
        for mean in ("arithmetic", "geometric"):
            rows[f"{SMALL}_ensemble_{mean}"] = self._evaluated(
                small[0],
                f"--config.evaluation.ensemble={others}",
                f"--config.evaluation.ensemble_mean={mean}",
            )
        for seed, pair in zip(SEEDS, zip(small, large, strict=True), strict=True):
            asked = [dev[run] for run in pair]
            name = f"switch-seed{seed}"
            rows[name] = self._combined(name, "--rule=switch", *pair, "--dev", *asked)
        committee = [*small, large[0]]
        asked = [dev[run] for run in committee]
        name = "switch_committee"
        rows[name] = self._combined(
            name, "--rule=switch", "--by=votes", *committee, "--dev", *asked
        )
        self._do(
            "report", *rows.values(), f"--names={','.join(rows)}",
            f"--output={self._workdir / 'report_combined'}",
        )  # fmt: skip

    def _of(self, *arms: str) -> list[pathlib.Path]:
        pairs = itertools.product(arms, SEEDS)
        return [self._workdir / f"{arm}-seed{seed}" for arm, seed in pairs]

    def _combined(self, name: str, *arguments: object) -> str:
        output = str(self._workdir / "combined" / name)
        self._do("combine", *arguments, f"--output={output}")
        return output

    def _evaluated(self, run: pathlib.Path, *changes: str) -> str:
        """The directory of an evaluation of the run."""
        self._do("evaluate", "--workdir", run, *changes)
        wanted = [change.removeprefix("--config.evaluation.").split("=") for change in changes]
        if self._dry:
            return f"{run}/evaluations/{wanted[-1][1]}"
        for path in self._reports(run):
            settings = json.loads(path.read_text())["evaluation"]
            if all(_text(settings[key]) == value for key, value in wanted):
                return str(path.parent)
        sys.exit(f"{run}: no evaluation with {' '.join(changes)}")

    def _reports(self, run: pathlib.Path) -> Iterator[pathlib.Path]:
        yield from sorted(run.glob("evaluations/*/report.json"))

    def _do(self, module: str, *arguments: object) -> None:
        words = ["-m", f"distill_jax.{module}", *map(str, arguments)]
        print(" ".join(["python", *words]), flush=True)
        if not self._dry:
            subprocess.run([sys.executable, *words], check=True)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def main() -> None:
    """Run or show the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", required=True, type=pathlib.Path, help="of the sweep")
    parser.add_argument("--dry_run", action="store_true", help="only show the commands")
    arguments = parser.parse_args()
    Study(arguments.workdir, arguments.dry_run).run()


if __name__ == "__main__":
    main()
