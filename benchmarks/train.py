"""Measure training on this machine; JSON on the terminal and in --output.

    python benchmarks/train.py cpu --data DIR      against a PyTorch loop, on two cores, float32
    python benchmarks/train.py gpu                 share of one GPU's peak, and against PyTorch
    python benchmarks/train.py startup             from the command to the first training step

The PyTorch peer needs torch; without it the gpu part measures ours alone.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # so that it runs if the package is not installed
    sys.path.insert(0, str(ROOT))


from benchmarks.arguments import (  # noqa: E402
    DATA_HELP,
    add_size,
    at_least_one,
    check_device,
    data_directory,
    finished_run,
    needs,
)


def main(argv: list[str]) -> None:
    """Parse the arguments and hand over to the part that was asked for."""
    arguments = parser().parse_args(argv)
    if arguments.part == "cpu":
        needs({"torch": "peers"} | ({"peft": "peers"} if arguments.lora_rank else {}))
        from benchmarks import cpu_peers as part
    elif arguments.part == "gpu":
        check_device(arguments.device)
        from benchmarks import gpu_utilisation as part
    else:
        from benchmarks import startup as part
    from benchmarks.peers import PeerError

    try:
        part.main(arguments)
    except PeerError as error:
        raise SystemExit(f"error: {error}") from None


def parser() -> argparse.ArgumentParser:
    """All arguments of all parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    cpu = parts.add_parser("cpu", help="against PyTorch on a CPU", allow_abbrev=False)
    cpu.add_argument("--data", required=True, type=data_directory, help=DATA_HELP)
    cpu.add_argument("--models", default="gpt2,gpt2-4-layers", help="presets; gpt2-4-layers")
    cpu.add_argument("--repeats", type=int, default=3, help="rounds of each peer, taking turns")
    cpu.add_argument("--steps", type=int, default=4, help="timed steps of each round")
    cpu.add_argument("--warmup", type=int, default=1, help="steps before that are not timed")
    cpu.add_argument("--cores", type=int, default=2)
    cpu.add_argument("--padded-rows", type=int, default=4, help="rows of a padded batch, of both")
    cpu.add_argument("--packed-rows", type=int, default=4, help="packed rows of a batch of ours")
    cpu.add_argument("--row-length", type=int, default=544, help="tokens of a packed row")
    cpu.add_argument("--parts", default="padded,packed")
    cpu.add_argument("--lora-rank", type=int, default=0, help="train adapters, PyTorch by PEFT")
    add_size(cpu)
    gpu = parts.add_parser("gpu", help="share of a GPU's peak", allow_abbrev=False)
    gpu.add_argument(
        "--data", default="", type=data_directory, help="as for cpu; '' = rows of random tokens"
    )
    gpu.add_argument("--models", default="gpt2,gpt2-medium,gpt2-large", help="presets")
    gpu.add_argument(
        "--measurements",
        default="cudnn,torch,cudnn_no_segments,xla,triton,remat,deterministic",
        help="which, and in which order",
    )
    gpu.add_argument("--batches", default="64,32,16,8", help="rows to try, until they fit")
    gpu.add_argument("--row-length", type=int, default=1024)
    gpu.add_argument("--steps", type=int, default=20)
    gpu.add_argument("--warmup", type=int, default=3)
    gpu.add_argument("--limit-s", type=float, default=240, help="of one measurement")
    gpu.add_argument("--total-limit-s", type=float, default=560, help="none is begun after it")
    gpu.add_argument("--device", default="gpu", choices=("gpu", "cpu"), help="cpu: to try the code")
    add_size(gpu)
    startup = parts.add_parser("startup", help="command to first step", allow_abbrev=False)
    startup.add_argument("--config", default="configs/demo.py", help="of the run that begins")
    startup.add_argument(
        "--override", action="append", default=[], metavar="KEY=VALUE",
        help="of that config, such as task_options.train_problems=2000; may be repeated",
    )  # fmt: skip
    startup.add_argument(
        "--run", default="", type=finished_run, help="a finished run: ask and evaluate too"
    )
    startup.add_argument("--repeats", type=at_least_one, default=5, help="of ask and evaluate")
    startup.add_argument("--limit-s", type=float, default=600, help="of one run")
    for part in (cpu, gpu):
        part.add_argument("--loss-chunk", type=int, default=2048, help="config.train.loss_chunk")
    for part in (cpu, gpu, startup):
        part.add_argument("--output", default="", help="file for the JSON")
    return parser


if __name__ == "__main__":
    from distill_jax import devices

    devices.use_huge_pages()  # of both sides
    main(sys.argv[1:])
