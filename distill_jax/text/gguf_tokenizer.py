"""The tokenizer inside a GGUF file, with the ids that llama.cpp gives.

A GGUF file has tokens and merges, but only the name of the rule that first splits text
(`tokenizer.ggml.pre`). The rules are those of `llm_tokenizer_bpe` in llama.cpp's llama-vocab.cpp.
llama.cpp does not normalise text, so nothing here does.
"""

import dataclasses
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors

from distill_jax.errors import UserError
from distill_jax.gguf_file import GGUFFile

CONTRACTIONS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Regular expressions of the rules that do not use GPT-2's.
_SPLITS = {
    "llama-bpe": rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
    "qwen2": rf"{CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}",
}
PRE_TOKENIZERS = ("smollm", "gpt-2", *_SPLITS)
# Kinds of tokens: gguf.TokenType, which this file need not import.
_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
# Texts that end a turn or a text, if no key names the token; llama.cpp looks for them, too.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>")
_END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>")


@dataclasses.dataclass(frozen=True)
class GGUFTokenizer:
    """A tokenizer, and its special tokens in a GGUF file; an id is None if the file has none.

    `eos` is what the file calls so: of a chat model usually its end of turn. `special` is
    {id: text} of the control tokens. `adds_bos`, `adds_eos`: whether encoding with special tokens
    puts `bos` first and `eos` last. The author of the file wrote `chat_template`: run it only in a
    sandbox.
    """

    tokenizer: tokenizers.Tokenizer
    bos: int | None
    eos: int | None
    pad: int | None
    end_of_turn: int | None
    end_of_text: int | None
    special: dict[int, str]
    adds_bos: bool
    adds_eos: bool
    chat_template: str | None

    def transformers_tokenizer(self) -> Any:
        """The same as a transformers tokenizer; its `save_pretrained` writes tokenizer.json.

        transformers' AutoTokenizer loads that directory and gives the same ids.
        """
        import transformers

        named = {"bos_token": self.bos, "eos_token": self.eos, "pad_token": self.pad}
        loaded = transformers.PreTrainedTokenizerFast(
            tokenizer_object=self.tokenizer,
            clean_up_tokenization_spaces=False,
            **{
                name: self.tokenizer.id_to_token(number)
                for name, number in named.items()
                if number is not None
            },
        )
        if self.chat_template is not None:
            loaded.chat_template = self.chat_template
        return loaded


def read_tokenizer(file: GGUFFile) -> GGUFTokenizer:
    """The tokenizer of `file`.

    Tokens that are marked as unused, and those without text, are not in the vocabulary, because a
    model has more embedding rows than tokens that text can name. Raises UserError for a tokenizer
    that is not a byte-level BPE, for a splitting rule that is not one of PRE_TOKENIZERS, and for
    tokens, merges or ids that do not fit together.
    """
    model = file.required("tokenizer.ggml.model", str)
    if model != "gpt2":
        raise UserError(
            f"{file.path}: its tokenizer is of the kind {model}, only byte-level BPE (gpt2) is "
            "supported: choose another model"
        )
    pre = file.required("tokenizer.ggml.pre", str)
    if pre not in PRE_TOKENIZERS:
        raise UserError(
            f"{file.path}: its tokenizer splits text by the rule {pre}; supported are "
            f"{', '.join(PRE_TOKENIZERS)}: choose another model"
        )
    tokens = file.items("tokenizer.ggml.tokens", str)
    kinds = file.items("tokenizer.ggml.token_type", int)
    if len(kinds) != len(tokens):
        raise UserError(f"{file.path} has {len(tokens)} tokens, but {len(kinds)} token types")
    ids = _special_ids(file, len(tokens))
    tokenizer = _byte_level_bpe(file, pre, tokens, kinds)
    special = {number: tokens[number] for number, kind in enumerate(kinds) if kind == _CONTROL}
    adds_bos = file.value("tokenizer.ggml.add_bos_token", bool, pre == "llama-bpe")
    adds_eos = file.value("tokenizer.ggml.add_eos_token", bool, False)
    before = [ids["bos"]] if adds_bos and ids["bos"] is not None else []
    after = [ids["eos"]] if adds_eos and ids["eos"] is not None else []
    if before or after:
        tokenizer.post_processor = _surrounded(tokens, before, after)
    return GGUFTokenizer(
        tokenizer=tokenizer,
        bos=ids["bos"],
        eos=ids["eos"],
        pad=ids["padding"],
        end_of_turn=_named(ids["eot"], special, _END_OF_TURN),
        end_of_text=_named(None, special, _END_OF_TEXT),
        special=special,
        adds_bos=bool(before),
        adds_eos=bool(after),
        chat_template=file.value("tokenizer.chat_template", str),
    )


def pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    """The splitting rule that llama.cpp calls `name`, one of PRE_TOKENIZERS."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "gpt-2":
        return gpt2
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_SPLITS[name]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _byte_level_bpe(
    file: GGUFFile, pre: str, tokens: list[str], kinds: list[int]
) -> tokenizers.Tokenizer:
    vocabulary: dict[str, int] = {}
    for number, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if token and kind != _UNUSED and vocabulary.setdefault(token, number) != number:
            raise UserError(
                f"{file.path}: tokens {vocabulary[token]} and {number} are both {token!r}: "
                "convert the model again with llama.cpp"
            )
    merges = []
    for merge in file.items("tokenizer.ggml.merges", str):
        # Only in vocabularies that are not byte-level can a merged token contain a space.
        left, _, right = merge.partition(" ")
        if not {left, right, left + right} <= vocabulary.keys():
            raise UserError(
                f"{file.path}: the merge {merge!r} joins tokens that it does not have: "
                "convert the model again with llama.cpp"
            )
        merges.append((left, right))
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre == "llama-bpe")
    )
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    # llama.cpp reads user-defined tokens in any text, and control tokens only on request.
    for number, kind in enumerate(kinds):
        if kind in (_CONTROL, _USER_DEFINED) and tokens[number]:
            token = tokenizers.AddedToken(
                tokens[number], normalized=False, special=kind == _CONTROL
            )
            tokenizer.add_tokens([token])
    return tokenizer


def _special_ids(file: GGUFFile, size: int) -> dict[str, int | None]:
    ids = {}
    for name in ("bos", "eos", "padding", "eot"):
        number = file.value(f"tokenizer.ggml.{name}_token_id", int)
        if number is not None and not 0 <= number < size:
            raise UserError(
                f"{file.path}: tokenizer.ggml.{name}_token_id is {number}, "
                f"but there are {size} tokens"
            )
        ids[name] = number
    return ids


def _named(number: int | None, special: dict[int, str], texts: tuple[str, ...]) -> int | None:
    """`number` if a key gave one, else the id of the first of `texts` that is a control token."""
    if number is not None:
        return number
    ids = {text: number for number, text in special.items()}
    return next((ids[text] for text in texts if text in ids), None)


def _surrounded(tokens: list[str], before: list[int], after: list[int]) -> processors.PostProcessor:
    first, last = [tokens[number] for number in before], [tokens[number] for number in after]
    return processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *(f"{text}:1" for text in first), "$B:1"],
        special_tokens=[(tokens[number], number) for number in sorted({*before, *after})],
    )
