"""The tokenizer: that of a pretrained model, or a small byte-level BPE trained on the run's texts.

It also decides which tokens end a turn and a text: see EndMarks.
"""

import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import tokenizers

from distill_jax.errors import UserError
from distill_jax.gguf_file import opened
from distill_jax.settings import ranges
from distill_jax.text.gguf_tokenizer import read_tokenizer
from distill_jax.text.lost_characters import LostCharacters
from distill_jax.tracking import progress
from distill_jax.workdir import local_path, read_json, write_json, write_text

# transformers would warn at every start that PyTorch is missing, but we use only its tokenizers.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
# Without a network the Hub's client reports every retry; we report only the result, in one line.
os.environ.setdefault("HF_HUB_VERBOSITY", "error")

# Names of the two if a tokenizer does not have them.
END_OF_TURN = "<|endofturn|>"
END_OF_TEXT = "<|endoftext|>"
# Names in published models: the first in SmolLM2 and Qwen, the second in Llama 3.
_TURNS = (END_OF_TURN, "<|im_end|>", "<|eot_id|>")
_TEXTS = (END_OF_TEXT, "<|end_of_text|>")
MARKS_FILE = "end_marks.json"  # beside tokenizer.json
# What transformers writes for a tokenizer, whose directory may hold a model, too.
_SAVED_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)

# One digit is one token, always the same one: a space before a digit belongs to the word or sign
# before it ("has 15" is "has ", "1", "5"), any other space to the word after it, as in GPT-2.
_SPLIT = (
    r"\p{N}"
    r"| ?\p{L}+ (?=\p{N})| ?\p{L}+"
    r"| ?[^\s\p{L}\p{N}]+ (?=\p{N})| ?[^\s\p{L}\p{N}]+"
    r"|\s+(?!\S)|\s+"
)

LEAST_VOCABULARY = 258  # all bytes and two end marks


class EndMarks(NamedTuple):
    """The tokens that end a turn and a text, as text; "" = found in the tokenizer."""

    turn: str = ""
    text: str = ""


FOUND = EndMarks()


class Tokenizer:
    """Text to ids and back, without ever turning text into a special token.

    Wraps a fast transformers tokenizer, or one that was saved. `size` is one more than the largest
    id, `padded_size` the next multiple of 128: the rows of the embedding, of which those from
    `size` on are never trained or sampled. `untrained` are the marks that the pretrained vocabulary
    did not have.
    """

    def __init__(
        self, transformers_tokenizer: Any, marks: EndMarks, untrained: Sequence[str] | None = None
    ):
        """`untrained`: None = those of `marks` that the tokenizer lacks; they are added.

        Raises UserError if the two marks are the same, or if text can spell one of them.
        """
        self._tokenizer = transformers_tokenizer
        self._backend: tokenizers.Tokenizer = self._tokenizer.backend_tokenizer
        self.marks = marks
        known = self._backend.get_vocab(with_added_tokens=True)
        missing = [mark for mark in marks if mark not in known]
        self.untrained = tuple(missing if untrained is None else untrained)
        self._tokenizer.add_special_tokens(
            {"eos_token": marks.text, "additional_special_tokens": [marks.turn]}
        )
        self._backend.encode_special_tokens = True  # text that spells a special token stays text
        # A tokenizer.json may ask for a length, and for normalised text, which llama.cpp leaves
        # out and which would not come back as it was.
        self._backend.no_truncation()
        self._backend.no_padding()
        if isinstance(self._backend.normalizer, tokenizers.normalizers.NFC):
            self._backend.normalizer = None  # type: ignore[assignment]
        vocabulary = self._backend.get_vocab(with_added_tokens=True)
        self.end_of_turn: int = vocabulary[marks.turn]
        self.end_of_text: int = vocabulary[marks.text]
        self.size: int = max(vocabulary.values()) + 1
        self.padded_size: int = -(-self.size // 128) * 128
        self._lost = LostCharacters(vocabulary)
        self._check_marks(set(known.values()), missing)

    def _check_marks(self, taken: set[int], added: list[str]) -> None:
        if self.end_of_turn == self.end_of_text:
            raise UserError(
                f"config.tokenizer: {self.marks.turn} ends turns and texts: set end_of_turn or "
                "end_of_text to another token"
            )
        for key, mark, number in (
            ("end_of_turn", self.marks.turn, self.end_of_turn),
            ("end_of_text", self.marks.text, self.end_of_text),
        ):
            ids = self._backend.encode(mark, add_special_tokens=False).ids
            if number in ids or (mark in added and number in taken):
                raise UserError(
                    f"config.tokenizer.{key}={mark}: text can spell this token: choose a special "
                    "token, or one that the tokenizer does not have"
                )

    def encode(
        self, texts: Sequence[str], place: Callable[[int], str] | None = None
    ) -> list[list[int]]:
        """Ids of each text; never a special token.

        Raises UserError for text that is not valid unicode (an unpaired surrogate from JSON), and
        for characters that the vocabulary lacks and that would be lost. The message names their
        place by `place(index of the text)`, or by the text.
        """
        texts = list(texts)
        try:
            if self._lost.bytes:
                self._check_lost(texts, place)
            encodings = self._backend.encode_batch_fast(texts, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):
            for text in texts:
                _check_unicode(text)
            raise
        return [encoding.ids for encoding in encodings]

    def _check_lost(self, texts: Sequence[str], place: Callable[[int], str] | None) -> None:
        for index, text in enumerate(texts):
            if lost := self._lost(text):
                where = repr(text[:60]) if place is None else place(index)
                listed = ", ".join(f"{letter!r} (U+{ord(letter):04X})" for letter in lost)
                raise UserError(
                    f"{where}: the tokenizer has no token for {listed}, which would vanish: remove "
                    "or replace what it lacks"
                )

    def special(self, text: str) -> int | None:
        """The id of a special token; None if there is no such token, or text can spell it."""
        tokens = self._backend.get_added_tokens_decoder().items()
        return next((n for n, token in tokens if token.special and token.content == text), None)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of ids; special tokens are spelt out, bytes that are not UTF-8 become U+FFFD."""
        return self._backend.decode(list(tokens), skip_special_tokens=False)

    def token_texts(self) -> list[str]:
        """The text of every id, [size]; empty for special tokens, which are not text."""
        texts = [self.decode([token]) for token in range(self.size)]
        texts[self.end_of_text] = texts[self.end_of_turn] = ""
        return texts

    def save(self, directory: pathlib.Path) -> None:
        """Write the files from which `load_tokenizer` and transformers load it again."""
        self._tokenizer.save_pretrained(directory)
        marks = {"end_of_turn": self.marks.turn, "end_of_text": self.marks.text}
        write_json(directory / MARKS_FILE, marks | {"untrained": list(self.untrained)})


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"text holds an unpaired surrogate at character {error.start}: {text[:60]!r}: remove it"
        ) from None


def train_tokenizer(texts: Iterable[str], vocab_size: int, marks: EndMarks = FOUND) -> Tokenizer:
    """A byte-level BPE of at most `vocab_size` ids, special tokens included, trained on `texts`."""
    import transformers

    marks = EndMarks(marks.turn or END_OF_TURN, marks.text or END_OF_TEXT)
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
        special_tokens=[marks.text, marks.turn],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return Tokenizer(transformers.PreTrainedTokenizerFast(tokenizer_object=bpe), marks)


def load_tokenizer(name: str, marks: EndMarks = FOUND) -> Tokenizer:
    """The tokenizer of a directory, of a GGUF file, or of a Hugging Face Hub id.

    `marks` are the end marks; for an empty one the run's directory decides, or else a special token
    with a usual name, or else the mark is added.
    Raises UserError if there is none, or if it is not a byte-level one: with any other, text would
    not come back unchanged.
    """
    path = local_path(name, "config.tokenizer.name")
    if path.suffix == ".gguf":
        loaded, stored, untrained = *_from_gguf(path), None
    else:
        stored, untrained = _stored_marks(path / MARKS_FILE)
        wanted = EndMarks(marks.turn or stored.turn, marks.text or stored.text)
        if wanted == stored != FOUND:
            loaded = _SavedTokenizer(name, path)
        else:
            loaded = _from_hugging_face(name, path)
    found = _found_marks(loaded.backend_tokenizer)
    turn = marks.turn or stored.turn or found.turn
    text = marks.text or stored.text or found.text
    tokenizer = Tokenizer(loaded, EndMarks(turn, text), untrained)
    # Letters of which other normal forms, lower case and byte fallback would make something else.
    probe = " A\n\n \u00e9e\u0301\ufb01\uff1112 <|endoftext|>"
    byte_level = isinstance(loaded.backend_tokenizer.decoder, tokenizers.decoders.ByteLevel)
    if not byte_level or tokenizer.decode(tokenizer.encode([probe])[0]) != probe:
        raise UserError(
            f"config.tokenizer.name={name}: text does not survive encoding and decoding: "
            "choose a byte-level tokenizer such as GPT-2's"
        )
    return tokenizer


def _from_gguf(path: pathlib.Path) -> tuple[Any, EndMarks]:
    """The transformers tokenizer of a GGUF file, and the marks that its metadata name."""
    read = read_tokenizer(opened(path))
    turn, text = (
        "" if number is None else read.tokenizer.id_to_token(number) or ""
        for number in (read.end_of_turn, read.end_of_text)
    )
    # Files of models that do not chat may call the end of a text that of a turn, too.
    return read.transformers_tokenizer(), EndMarks("" if turn == text else turn, text)


def _from_hugging_face(name: str, path: pathlib.Path) -> Any:
    import transformers

    if not path.is_dir() and name.startswith((".", "/", "~")):
        raise UserError(f"config.tokenizer.name={name}: no such directory")
    source = path if path.is_dir() else name
    if source == name:
        progress.asks_the_hub(name)
    try:
        try:
            # This class uses tokenizer.json unchanged. That of a model may use its own splitting of
            # text in its place: SmolLM2 names GPT-2's class, which does not split digits.
            return transformers.PreTrainedTokenizerFast.from_pretrained(source)
        except Exception:  # there may be no tokenizer.json, but the files for its class
            return transformers.AutoTokenizer.from_pretrained(source)
    except Exception as error:  # tokenizers raises Exception itself, damaged files anything
        raise _cannot_load(name, error) from None


def _cannot_load(name: str, error: Exception) -> UserError:
    reason = str(error).split("\n")[0]
    return UserError(
        f"config.tokenizer.name={name}: cannot load a tokenizer ({reason}): give a directory with "
        "tokenizer.json, a GGUF file, or a Hub id while online"
    )


class _SavedTokenizer:
    """What `Tokenizer.save` wrote, with what `Tokenizer` uses of a transformers tokenizer.

    transformers takes 0.4 s to import, a seventh of the time that `ask` needs to begin.
    """

    def __init__(self, name: str, directory: pathlib.Path):
        try:
            # In memory, because the directory may be a temporary one.
            self._files = {
                path.name: path.read_text("utf-8")
                for path in directory.iterdir()
                if path.name in _SAVED_FILES
            }
            self.backend_tokenizer = tokenizers.Tokenizer.from_str(self._files["tokenizer.json"])
        except Exception as error:  # tokenizers raises Exception itself
            raise _cannot_load(name, error) from None

    def add_special_tokens(self, names: dict[str, Any]) -> None:
        """Nothing: the end marks were saved with it."""

    def save_pretrained(self, directory: pathlib.Path) -> None:
        """Write the same files again."""
        for name, text in self._files.items():
            write_text(directory / name, text)


def _stored_marks(path: pathlib.Path) -> tuple[EndMarks, list[str] | None]:
    """(marks, those of them that are untrained) of a run; older runs have no such file."""
    if not path.exists():
        return FOUND, None
    stored = read_json(path)
    return EndMarks(stored["end_of_turn"], stored["end_of_text"]), stored["untrained"]


def saved_marks(directory: pathlib.Path) -> EndMarks:
    """The end marks of a run's tokenizer, which `Tokenizer.save` wrote to `directory`."""
    stored, _ = _stored_marks(directory / MARKS_FILE)
    return stored if stored != FOUND else EndMarks(END_OF_TURN, END_OF_TEXT)


def _found_marks(backend: tokenizers.Tokenizer) -> EndMarks:
    """Special tokens with one of the usual names, or else ours."""
    special = {t.content for t in backend.get_added_tokens_decoder().values() if t.special}
    turn = next((mark for mark in _TURNS if mark in special), END_OF_TURN)
    return EndMarks(turn, next((mark for mark in _TEXTS if mark in special), END_OF_TEXT))


def mistakes(settings: Any) -> list[str]:
    """What is wrong with config.tokenizer."""
    return ranges.mistakes("tokenizer", settings, least={"vocab_size": LEAST_VOCABULARY})
