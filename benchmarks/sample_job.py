"""What both sides of the sampling comparison are given: dialogues, caps, students.

Two students take turns: role 0, the decomposer, begins and alone may end the dialogue; role 1 is
the solver. Both read everything. Nothing here needs PyTorch but `write_students`.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_jax.records import Annotation
from distill_jax.tasks import arithmetic, gsm8k
from distill_jax.text.rows import View, encode_rows, prompt_tokens
from distill_jax.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from distill_jax.text.transcript import SCHEMES

if TYPE_CHECKING:  # PyTorch's process does without jax
    from distill_jax.sampling.dialogues import Dialogue

ROLES = SCHEMES["socratic"].roles  # in turn order
ENDER = ROLES.index(SCHEMES["socratic"].ender)


@dataclasses.dataclass(frozen=True)
class Caps:
    """End marks and limits of a dialogue, as in `distill_jax.sampling.turn_rules.TurnRules`.

    vocab_size       ids from here on are padding of the embedding
    max_turns        status turn_cap when so many turns have ended
    max_turn_tokens  status token_cap when a turn is so long, its end mark counted
    max_tokens       status token_cap when so much is written in all
    """

    end_of_turn: int
    end_of_text: int
    vocab_size: int
    max_turns: int
    max_turn_tokens: int
    max_tokens: int


@dataclasses.dataclass(frozen=True)
class SampleSetting:
    """One side: its device, and the students that it loads.

    weights      directory in Hugging Face format of each role's student
    cores        0 = all
    environment  variables set before anything is imported
    """

    weights: tuple[str, str]
    device: str = "cpu"
    dtype: str = "float32"
    cores: int = 0
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class SampleJob:
    """One measured run.

    prompts      ids of each question with its end of turn
    forced       what is written for each prompt, end marks included, whatever the students would
                 write; None = they write themselves
    batch_size   dialogues at a time: PyTorch's batch, our slots
    variant      PyTorch's way of going from turn to turn: see `turn_by_turn.run`; llama.cpp's:
                 sample_llama.WAYS
    threads      of PyTorch or llama.cpp on a CPU; 0 = its cores
    temperature  0 = greedy
    samples      dialogues of each prompt; ours only
    attention    our kernel: config.sampling.attention
    """

    prompts: Sequence[list[int]]
    forced: Sequence[list[int]] | None
    caps: Caps
    batch_size: int
    variant: str = "carry"
    threads: int = 0
    temperature: float = 0.0
    samples: int = 1
    attention: str = "xla"

    @property
    def dialogues(self) -> int:
        return len(self.prompts) * self.samples

    def first(self, count: int) -> "SampleJob":
        """The job with its first `count` prompts; 0 = all."""
        forced = self.forced and self.forced[: count or None]
        return dataclasses.replace(self, prompts=self.prompts[: count or None], forced=forced)


@dataclasses.dataclass(frozen=True)
class GivenDialogues:
    """What is replayed: `written[i]` follows `prompts[i]` and ends in end_of_text."""

    prompts: list[list[int]]
    written: list[list[int]]
    end_of_turn: int
    end_of_text: int
    vocab_size: int  # ids without the padding of the embedding

    def caps(self) -> Caps:
        """The smallest under which none of these dialogues is cut."""
        turn_lengths = []
        for tokens in self.written:
            ends = [i for i, t in enumerate(tokens) if t in (self.end_of_turn, self.end_of_text)]
            starts = [-1, *ends[:-1]]
            turn_lengths.append([end - start for start, end in zip(starts, ends, strict=True)])
        return Caps(
            self.end_of_turn,
            self.end_of_text,
            self.vocab_size,
            max_turns=max(map(len, turn_lengths)),
            # A dialogue that ends with the last token it may write has finished.
            max_turn_tokens=max(map(max, turn_lengths)),
            max_tokens=max(map(len, self.written)),
        )


def gsm8k_dialogues(data: str, count: int = 0) -> GivenDialogues:
    """The first `count` (0 = all) gold dialogues of GSM8K's test split, in GPT-2's tokens.

    `data` holds gsm8k/ (upstream's files) and gpt2_tokenizer/.
    """
    directory = pathlib.Path(data)
    annotations = gsm8k.load_annotations("test", directory=str(directory / "gsm8k"))
    tokenizer = load_tokenizer(str(directory / "gpt2_tokenizer"))
    return dialogues_of(annotations[: count or None], tokenizer)


def demo_tokenizer() -> Tokenizer:
    """A tokenizer like that of configs/demo.py."""
    texts = []
    for annotation in arithmetic.load_annotations("train", train_problems=5000):
        texts.append(annotation.question)
        texts += [text for step in annotation.steps for text in (step.subquestion, step.solution)]
    return train_tokenizer(texts, 1024)


def demo_dialogues(tokenizer: Tokenizer, count: int = 1000) -> GivenDialogues:
    """`count` gold dialogues of the built-in task's test split, which configs/demo.py learns."""
    return dialogues_of(arithmetic.load_annotations("test", test_problems=count), tokenizer)


def dialogues_of(annotations: Sequence[Annotation], tokenizer: Tokenizer) -> GivenDialogues:
    """Their gold dialogues, in a tokenizer's ids."""
    scheme = SCHEMES["socratic"]
    # The ender's row holds every turn and the end of the text.
    view = View(scheme.ender, frozenset(scheme.roles), (ENDER,))
    rows = encode_rows(annotations, scheme, [view], tokenizer)[scheme.ender]
    questions = tokenizer.encode([annotation.question for annotation in annotations])
    prompts = [prompt_tokens(question, tokenizer.end_of_turn) for question in questions]
    written = [row.tokens[len(prompt) :] for row, prompt in zip(rows, prompts, strict=True)]
    marks = tokenizer.end_of_turn, tokenizer.end_of_text
    return GivenDialogues(prompts, written, *marks, tokenizer.size)


def random_dialogues(count: int = 1319, vocab_size: int = 50258) -> GivenDialogues:
    """Random tokens in turns as long, and as many, as in GSM8K's test split: log-normal lengths."""
    end_of_text, end_of_turn = vocab_size - 2, vocab_size - 1
    generator = np.random.default_rng(0)

    def text(mean: float, deviation: float, shortest: int, longest: int) -> list[int]:
        """Ids, and an end of turn, which counts."""
        length = round(np.exp(generator.normal(mean, deviation)).clip(shortest, longest))
        return [*generator.integers(0, end_of_text, length - 1).tolist(), end_of_turn]

    steps = np.array([326, 371, 297, 175, 87, 40, 23])  # dialogues of 2, 3, ... steps
    prompts, written = [], []
    for number in generator.choice(np.arange(2, 9), count, p=steps / steps.sum()):
        prompts.append(text(3.99, 0.355, 22, 183))
        turns = [(text(2.34, 0.29, 4, 51), text(3.25, 0.33, 5, 86)) for _ in range(number)]
        written.append([token for pair in turns for turn in pair for token in turn])
        written[-1].append(end_of_text)
    return GivenDialogues(prompts, written, end_of_turn, end_of_text, vocab_size)


def written_tokens(dialogue: "Dialogue", caps: Caps) -> list[int]:
    """What one of our dialogues holds, end marks included, as `turn_by_turn.run` returns it."""
    tokens: list[int] = []
    for turn in dialogue.turns:
        tokens += turn.tokens
        if turn.written > len(turn.tokens):
            tokens.append(caps.end_of_turn)
    if dialogue.status == "finished":
        tokens[-1] = caps.end_of_text
    return tokens


def write_students_apart(
    directory: str, config: dict[str, Any], vocab_size: int
) -> tuple[str, str]:
    """`write_students` in a process of its own: those that are started later count the peak memory
    of this one as theirs."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(write_students, directory, config, vocab_size).result()


def write_students(
    directory: str, config: dict[str, Any], vocab_size: int, seed: int = 0
) -> tuple[str, str]:
    """Two models with random weights in Hugging Face format, one per role; their directories.

    config      config.json of transformers, the vocabulary not counted
    vocab_size  ids; the embedding is padded to a multiple of 128
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    own = {"vocab_size": -(-vocab_size // 128) * 128, "bos_token_id": 0, "eos_token_id": 0}
    whole = transformers.AutoConfig.for_model(**config | own)
    paths = []
    for number, role in enumerate(ROLES):
        torch.manual_seed(seed + number)
        path = pathlib.Path(directory) / role
        path.mkdir(parents=True, exist_ok=True)
        transformers.AutoModelForCausalLM.from_config(whole).save_pretrained(path)
        paths.append(str(path))
    return paths[0], paths[1]
