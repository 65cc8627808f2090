"""Measure sampling on this machine; JSON on the terminal and in --output.

    python benchmarks/sample.py cpu --data DIR           against transformers, two cores, float32
    python benchmarks/sample.py llama --data DIR         against llama.cpp, likewise, or ours with
                                                         --dtype=bfloat16
    python benchmarks/sample.py gpu [--data DIR]         one GPU: share of its memory bandwidth,
                                                         and against transformers, in bfloat16
    python benchmarks/sample.py utilisation --data DIR   share of slot-steps that write a token

Two students with random weights replay GSM8K's gold dialogues: every token is computed, but the
gold one is written, so that lengths are real. Without DIR the gpu part takes random tokens in turns
of such lengths. All but the last need torch, with which they make the students; llama also needs
xllamacpp and gguf.
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
    check_device,
    data_directory,
    needs,
)


def main(argv: list[str]) -> None:
    """Parse the arguments and run the chosen part."""
    arguments = parser().parse_args(argv)
    if arguments.part != "utilisation":
        needs({"torch": "peers"})
    if arguments.part == "cpu":
        from benchmarks import sample_cpu as part
    elif arguments.part == "llama":
        needs({"xllamacpp": "peers", "gguf": "gguf"})
        from benchmarks import sample_llama_cpu as part
    elif arguments.part == "gpu":
        check_device(arguments.device)
        from benchmarks import sample_gpu as part
    else:
        from benchmarks import sample_utilisation as part
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
    cpu = parts.add_parser("cpu", help="against transformers on a CPU", allow_abbrev=False)
    cpu.add_argument("--data", required=True, type=data_directory, help=DATA_HELP)
    cpu.add_argument("--models", default="gpt2,gpt2-4-layers", help="presets; gpt2-4-layers")
    cpu.add_argument("--problems", type=int, default=256, help="the first so many; 0 = all")
    cpu.add_argument("--repeats", type=int, default=3, help="rounds of each peer, taking turns")
    cpu.add_argument("--slots", type=int, default=64, help="dialogues at a time, of ours")
    cpu.add_argument("--batch", default="64", help="batch sizes that transformers tries")
    cpu.add_argument(
        "--variants", default="reread,carry", help="of transformers, as turn_by_turn.py says"
    )
    # If other programs run too, threads that wait for each other are slower than one thread.
    cpu.add_argument("--threads", default="2,1", help="numbers of threads that transformers tries")
    cpu.add_argument(
        "--trial-problems", type=int, default=64, help="to choose transformers' fastest way"
    )
    cpu.add_argument("--cores", type=int, default=2)
    add_size(cpu)
    llama = parts.add_parser("llama", help="against llama.cpp on a CPU", allow_abbrev=False)
    llama.add_argument("--data", required=True, type=data_directory, help="as for cpu")
    llama.add_argument(
        "--models", default="demo,gpt2-4-layers,gpt2,smollm2-135m", help="presets; demo"
    )
    llama.add_argument("--problems", type=int, default=256, help="the first so many")
    llama.add_argument("--at-once", default="64,8,1", help="dialogues at a time, in both")
    llama.add_argument("--repeats", type=int, default=2, help="rounds of each, taking turns")
    llama.add_argument("--types", default="f32,f16", help="types of weights that llama.cpp tries")
    llama.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="ours")
    llama.add_argument("--threads", default="1,2", help="numbers of threads that llama.cpp tries")
    llama.add_argument(
        "--ways", default="free,locked", help="that llama.cpp tries, as sample_llama.py says"
    )
    llama.add_argument(
        "--trial-problems", type=int, default=16, help="to choose llama.cpp's fastest way"
    )
    llama.add_argument("--limit-s", type=float, default=3000, help="no measurement begins after it")
    llama.add_argument("--cores", type=int, default=2)
    add_size(llama)
    gpu = parts.add_parser("gpu", help="share of a GPU's memory bandwidth", allow_abbrev=False)
    gpu.add_argument(
        "--data", default="", type=data_directory, help="as for cpu; '' = random dialogues"
    )
    gpu.add_argument("--models", default="gpt2,gpt2-medium,gpt2-large", help="presets")
    gpu.add_argument("--problems", type=int, default=0, help="the first so many; 0 = all")
    gpu.add_argument("--repeats", type=int, default=3, help="timed runs of ours")
    gpu.add_argument("--slots", default="64,256,512,1024", help="dialogues at a time, of ours")
    gpu.add_argument("--attention", default="xla,triton", help="kernels of ours")
    gpu.add_argument("--batch", default="64,256", help="batch sizes of transformers; '' = none")
    gpu.add_argument(
        "--variants", default="carry,reread", help="of transformers, as turn_by_turn.py says"
    )
    gpu.add_argument("--torch-problems", type=int, default=512, help="at most, of transformers")
    gpu.add_argument("--forty", action="store_true", help="40 samples per problem, of gpt2 only")
    gpu.add_argument("--limit-s", type=float, default=240, help="of one measurement")
    gpu.add_argument("--total-limit-s", type=float, default=560, help="none is begun after it")
    gpu.add_argument("--device", default="gpu", choices=("gpu", "cpu"), help="cpu: to try the code")
    add_size(gpu)
    use = parts.add_parser("utilisation", help="share of useful slot-steps", allow_abbrev=False)
    use.add_argument("--data", required=True, type=data_directory, help="as for cpu")
    use.add_argument("--slots", default="16,32,64,256", help="slots; before: rows of a batch")
    use.add_argument("--samples", default="1,8", help="dialogues per problem")
    use.add_argument("--problems", type=int, default=0, help="the first so many; 0 = all")
    use.add_argument("--picture", default="", help="file for slots over time, such as x.svg")
    use.add_argument("--picture-slots", type=int, default=32)
    use.add_argument("--picture-problems", type=int, default=150)
    for part in (cpu, llama, gpu, use):
        part.add_argument("--output", default="", help="file for the JSON")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
