"""Export a run for transformers: `python -m distill_jax.export --workdir runs/demo --output out`.

Every student that is trained to the end becomes a directory `out/<student>/`; `out/alternate.py`
is a program in which they take turns with only transformers.
"""

import sys

from distill_jax import devices, errors
from distill_jax.settings import command_line
from distill_jax.workdir import local_path


def main(argv: list[str]) -> None:
    """Open the directory, apply the overrides, write the students."""
    parser = command_line.parser(
        "export", "Write a run's students in Hugging Face format.", command_line.OF_A_FINISHED_RUN
    )
    parser.add_argument("--workdir", required=True, help="the directory of the run")
    parser.add_argument("--output", required=True, help="the directory for <student>/")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="dtype of the weights in the files; default: that of the weights that training began "
        "from, or float32",
    )
    parser.add_argument(
        "--gguf",
        nargs="?",
        const="f16",
        default="",
        choices=("f32", "f16", "q8_0"),
        help="also write <student>.gguf for llama.cpp, with matrices of this type (default: f16)",
    )
    parser.add_argument(
        "--push_to_hub",
        default="",
        metavar="NAME/PREFIX",
        help="also upload them to the Hugging Face Hub, as NAME/PREFIX-STUDENT",
    )
    rest, overrides = command_line.split_overrides(argv)
    arguments = parser.parse_args(rest)

    devices.keep_freed_memory()
    from distill_jax.export import export_students

    options = export_students.Options(
        local_path(arguments.output, "--output"),
        arguments.dtype,
        arguments.gguf,
        arguments.push_to_hub,
    )
    export_students.export(arguments.workdir, options, overrides)


if __name__ == "__main__":
    errors.leave(errors.run_command(main, sys.argv[1:]))
