"""A student's tokenizer in a GGUF file for llama.cpp."""

import json
import pathlib
from typing import Any, NamedTuple

import tokenizers
from tokenizers import models

from distill_jax.errors import UserError
from distill_jax.text.gguf_tokenizer import CONTRACTIONS, PRE_TOKENIZERS, pre_tokenizer

# How Hugging Face's files of Llama 3 and Qwen spell CONTRACTIONS.
_ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"


class EndIds(NamedTuple):
    """The tokens at which llama.cpp stops: the end of a turn and the end of a text."""

    turn: int
    text: int


def pre_tokenizer_name(path: pathlib.Path) -> str:
    """llama.cpp's name for the rule by which the tokenizer.json at `path` splits text.

    Raises UserError if llama.cpp has no name for it, if text is normalised other than to NFC (which
    llama.cpp leaves out), or if the model is not a BPE.
    """
    stored = json.loads(path.read_text(encoding="utf-8"))
    normaliser = (stored.get("normalizer") or {"type": "NFC"})["type"]
    if stored["model"]["type"] == "BPE" and normaliser == "NFC":
        rule = _what_splits(stored["pre_tokenizer"])
        for name in PRE_TOKENIZERS:
            holder = tokenizers.Tokenizer(models.BPE())
            holder.pre_tokenizer = pre_tokenizer(name)
            if rule == _what_splits(json.loads(holder.to_str())["pre_tokenizer"]):
                return name
    raise UserError(
        f"--gguf: llama.cpp cannot split text as {path} says, only by one of its rules "
        f"{', '.join(PRE_TOKENIZERS)}: leave --gguf out, or train with "
        "--config.tokenizer.name=openai-community/gpt2"
    )


def add_tokenizer(
    writer: Any, directory: pathlib.Path, size: int, ends: EndIds, bos: int | None
) -> None:
    """Add the tokenizer of `directory` (tokenizer.json, its chat template) to gguf's `writer`.

    `size` is the number of rows of the embedding. llama.cpp needs a token for each, so rows without
    a text become unused tokens. Added tokens that are special become control tokens, which
    text cannot spell. llama.cpp is told not to add `bos`: a student's rows start with their text.
    Raises UserError as `pre_tokenizer_name` does.
    """
    import gguf

    path = directory / "tokenizer.json"
    writer.add_tokenizer_pre(pre_tokenizer_name(path))
    stored = json.loads(path.read_text(encoding="utf-8"))
    texts = [f"[PAD{number}]" for number in range(size)]
    kinds = [gguf.TokenType.UNUSED] * size
    for text, number in stored["model"]["vocab"].items():
        texts[number], kinds[number] = text, gguf.TokenType.NORMAL
    for token in stored["added_tokens"]:
        number, special = token["id"], token["special"]
        texts[number] = token["content"]
        kinds[number] = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in stored["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_eos_token_id(ends.text)
    writer.add_eot_token_id(ends.turn)
    writer.add_pad_token_id(ends.text)
    writer.add_add_bos_token(False)
    if (template := _chat_template(directory)) is not None:
        writer.add_chat_template(template)


def _chat_template(directory: pathlib.Path) -> str | None:
    """From the file that transformers writes today, or from the key that it wrote before."""
    path, old = directory / "chat_template.jinja", directory / "tokenizer_config.json"
    if path.exists():
        return path.read_text(encoding="utf-8")
    return json.loads(old.read_text(encoding="utf-8")).get("chat_template")


def _what_splits(rule: Any) -> Any:
    """A rule of tokenizer.json, without the parts that do not change where text is split."""
    if isinstance(rule, list):
        return [_what_splits(part) for part in rule]
    if isinstance(rule, dict):
        return {key: _what_splits(value) for key, value in rule.items() if key != "trim_offsets"}
    return rule.replace(_ANY_CASE, CONTRACTIONS) if isinstance(rule, str) else rule
