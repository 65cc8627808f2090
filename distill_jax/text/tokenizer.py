"""The tokenizer: GPT-2's, or a small byte-level BPE trained on the run's own transcripts."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from distill_jax.errors import UserError
from distill_jax.settings import ranges

# transformers would say at every start that PyTorch is missing; only its tokenizers are used.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
# Without a network the Hub's client tells of every retry; what comes of them is our one line.
os.environ.setdefault("HF_HUB_VERBOSITY", "error")

END_OF_TURN = "<|endofturn|>"
END_OF_TEXT = "<|endoftext|>"

# One digit is one token, always the same one: a space before a digit belongs to the word or sign
# before it ("has 15" is "has ", "1", "5"), any other space to the word after it, as in GPT-2.
_SPLIT = (
    r"\p{N}"
    r"| ?\p{L}+ (?=\p{N})| ?\p{L}+"
    r"| ?[^\s\p{L}\p{N}]+ (?=\p{N})| ?[^\s\p{L}\p{N}]+"
    r"|\s+(?!\S)|\s+"
)

LEAST_VOCABULARY = 258  # all bytes and two end marks


class Tokenizer:
    """Text to ids and back, without ever turning text into a special token.

    Wraps a fast transformers tokenizer. `size` counts ids, `padded_size` is the next multiple of
    128: the rows of the embedding, of which those from `size` on are never trained or sampled.
    """

    def __init__(self, transformers_tokenizer):
        self._tokenizer = transformers_tokenizer
        # AutoTokenizer on a bare tokenizer.json gives no EOS at all; GPT-2 has no end of turn.
        self._tokenizer.add_special_tokens(
            {"eos_token": END_OF_TEXT, "additional_special_tokens": [END_OF_TURN]}
        )
        self._backend = self._tokenizer.backend_tokenizer
        self._backend.encode_special_tokens = True  # text that spells a special token stays text
        self.end_of_text: int = self._backend.token_to_id(END_OF_TEXT)
        self.end_of_turn: int = self._backend.token_to_id(END_OF_TURN)
        self.size: int = self._backend.get_vocab_size(with_added_tokens=True)
        self.padded_size: int = -(-self.size // 128) * 128

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; never a special token.

        Raises UserError for text that is not valid unicode (an unpaired surrogate from JSON).
        """
        try:
            encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            for text in texts:
                _check_unicode(text)
            raise
        return [encoding.ids for encoding in encodings]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of ids; special tokens are spelt out, bytes that are no UTF-8 become U+FFFD."""
        return self._backend.decode(list(tokens), skip_special_tokens=False)

    def token_texts(self) -> list[str]:
        """The text of every id, [size]; empty for special tokens, which are no text."""
        texts = [self.decode([token]) for token in range(self.size)]
        texts[self.end_of_text] = texts[self.end_of_turn] = ""
        return texts

    def save(self, directory: pathlib.Path) -> None:
        """Write the files from which `load_tokenizer` and transformers load it again."""
        self._tokenizer.save_pretrained(directory)


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"text holds an unpaired surrogate at character {error.start}: {text[:60]!r}: remove it"
        ) from None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` ids, special tokens included, trained on `texts`."""
    import tokenizers
    import transformers

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Split(tokenizers.Regex(_SPLIT), behavior="isolated"),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, END_OF_TURN],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return Tokenizer(transformers.PreTrainedTokenizerFast(tokenizer_object=bpe))


def load_tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a directory or a Hugging Face Hub id, such as `openai-community/gpt2`.

    Raises UserError where there is none, or where it is no byte-level one: with any other, text
    would not come back unchanged.
    """
    import transformers

    if not pathlib.Path(name).is_dir() and name.startswith((".", "/", "~")):
        raise UserError(f"config.tokenizer.name={name}: no such directory")
    try:
        loaded = transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(
            f"config.tokenizer.name={name}: cannot load a tokenizer ({reason}): give a directory "
            "with tokenizer.json, or a Hub id while online"
        ) from None
    tokenizer = Tokenizer(loaded)
    probe = " a\n\n é12 <|endoftext|>"
    if tokenizer.decode(tokenizer.encode([probe])[0]) != probe:
        raise UserError(
            f"config.tokenizer.name={name}: text does not survive encoding and decoding: "
            "choose a byte-level tokenizer such as GPT-2's"
        )
    return tokenizer


def mistakes(settings: Any) -> list[str]:
    """What is wrong with config.tokenizer."""
    return ranges.mistakes("tokenizer", settings, least={"vocab_size": LEAST_VOCABULARY})
