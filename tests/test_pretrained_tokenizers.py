"""Tokenizers of pretrained models: their end marks, and that text comes through unchanged."""

import json

import numpy as np
import pytest
import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from distill_jax.configs import base
from distill_jax.errors import UserError
from distill_jax.records import Annotation, Problem, Step
from distill_jax.run import student_source
from distill_jax.sampling.turn_rules import TurnRules, ViewRules, allowed_tokens
from distill_jax.text import rows
from distill_jax.text.tokenizer import MARKS_FILE, EndMarks, load_tokenizer
from distill_jax.text.transcript import SCHEMES

TEXT = "Ann's 15 apples\n\n<|im_end|> é<|endoftext|>"
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")


def byte_level(special=CHATML, without=""):
    """A byte-level tokenizer whose only tokens are bytes and special ones."""
    letters = sorted(set(pre_tokenizers.ByteLevel.alphabet()) - set(without))
    vocabulary = {text: number for number, text in enumerate([*special, *letters])}
    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([tokenizers.AddedToken(text, normalized=False) for text in special])
    return bpe


def saved(path, bpe, **more):
    transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, **more).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize(
    ("special", "marks", "untrained"),
    [
        (CHATML, EndMarks("<|im_end|>", "<|endoftext|>"), ()),
        (LLAMA3, EndMarks("<|eot_id|>", "<|end_of_text|>"), ()),
        (("<|endoftext|>",), EndMarks("<|endofturn|>", "<|endoftext|>"), ("<|endofturn|>",)),
        ((), EndMarks("<|endofturn|>", "<|endoftext|>"), ("<|endofturn|>", "<|endoftext|>")),
    ],
)
def test_end_marks_are_found_or_added_and_kept(tmp_path, special, marks, untrained):
    first = load_tokenizer(saved(tmp_path / "theirs", byte_level(special)))
    first.save(tmp_path / "run")
    for tokenizer in (first, load_tokenizer(str(tmp_path / "run"))):
        assert (tokenizer.marks, tokenizer.untrained) == (marks, untrained)
        ends = [tokenizer.end_of_turn, tokenizer.end_of_text]
        assert tokenizer.decode(ends) == "".join(marks)
        assert tokenizer.size == 256 + len(special) + len(untrained)
        assert [number in ends for number in tokenizer.encode([TEXT])[0]].count(True) == 0


def test_keys_decide_and_are_kept(tmp_path):
    theirs = saved(tmp_path / "theirs", byte_level())
    first = load_tokenizer(theirs, EndMarks(turn="<|im_start|>", text="<|over|>"))
    first.save(tmp_path / "run")
    for tokenizer in (first, load_tokenizer(str(tmp_path / "run"))):
        assert (tokenizer.end_of_turn, tokenizer.end_of_text) == (1, 256 + 3)
        assert tokenizer.untrained == ("<|over|>",)


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        (EndMarks(turn="a"), r"config\.tokenizer\.end_of_turn=a: text can spell this token"),
        (EndMarks(text="b"), r"config\.tokenizer\.end_of_text=b: text can spell this token"),
        (EndMarks("<|x|>", "<|x|>"), r"<\|x\|> ends turns and texts: set end_of_turn or"),
    ],
)
def test_marks_that_text_can_spell_or_that_are_one_are_refused(tmp_path, marks, said):
    theirs = saved(tmp_path, byte_level())
    with pytest.raises(UserError, match=said):
        load_tokenizer(theirs, marks)


def test_no_text_becomes_a_special_token(tmp_path):
    special = [*CHATML, *LLAMA3, "<repo_name>", "<|fim_prefix|>"]
    tokenizer = load_tokenizer(saved(tmp_path, byte_level(special)))
    for text in ("".join(special), " ".join(special), *special, *(f"a{s} \n{s}" for s in special)):
        (ids,) = tokenizer.encode([text])
        assert min(ids) >= len(special) and tokenizer.decode(ids) == text


def test_a_bos_that_the_tokenizer_adds_is_left_out(tmp_path):
    bpe = byte_level(LLAMA3)
    bpe.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    theirs = saved(tmp_path, bpe, bos_token="<|begin_of_text|>")
    assert transformers.AutoTokenizer.from_pretrained(theirs)("a").input_ids[0] == 0
    (ids,) = load_tokenizer(theirs).encode(["a"])
    assert load_tokenizer(theirs).decode(ids) == "a"


def test_text_is_not_normalised_to_nfc(tmp_path):
    """Qwen's tokenizer asks for it; llama.cpp does not do it."""
    bpe = byte_level()
    bpe.normalizer = normalizers.NFC()
    theirs = saved(tmp_path / "theirs", bpe)
    text = "cafe\u0301"
    load_tokenizer(theirs).save(tmp_path / "run")
    for tokenizer in (load_tokenizer(theirs), load_tokenizer(str(tmp_path / "run"))):
        assert tokenizer.decode(tokenizer.encode([text])[0]) == text
    changed = transformers.AutoTokenizer.from_pretrained(theirs)
    assert changed.decode(changed(text).input_ids) == "caf\u00e9"


@pytest.mark.parametrize(
    "normaliser", [normalizers.NFKC(), normalizers.NFD(), normalizers.Lowercase()]
)
def test_other_normalising_is_refused(tmp_path, normaliser):
    bpe = byte_level()
    bpe.normalizer = normaliser
    with pytest.raises(UserError, match="text does not survive encoding and decoding"):
        load_tokenizer(saved(tmp_path, bpe))


def test_byte_fallback_is_refused(tmp_path):
    """As of Llama 2: whole, text survives, but single tokens lose their space."""
    letters = [*"▁abcdefghijklmnopqrstuvwxyzA12\n|<>", *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {text: number for number, text in enumerate(["<unk>", *letters])}
    bpe = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    bpe.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
         decoders.Strip(" ", 1, 0)]
    )  # fmt: skip
    assert bpe.decode(bpe.encode(TEXT).ids) == TEXT
    with pytest.raises(UserError, match="choose a byte-level tokenizer such as GPT-2's"):
        load_tokenizer(saved(tmp_path, bpe))


def test_lost_characters_are_refused_with_the_row(tmp_path):
    letter = "\u0107"  # which stands for the byte 07
    tokenizer = load_tokenizer(saved(tmp_path, byte_level(without=letter)))
    bell = Step("Why?", "2 + 2\x07 = 4")
    fine = Annotation("t/0", "Who?", "4", (Step("Why?", "2 + 2 = 4"),), {"kind": "gold"})
    scheme = SCHEMES["socratic"]
    views = rows.make_views(
        scheme, {"decomposer": "d", "solver": "s"}, {"decomposer": ["solver"], "solver": []}
    )
    assert rows.encode_rows([fine], scheme, views, tokenizer)["s"]
    lost = r"the tokenizer has no token for '\\x07' \(U\+0007\), which would vanish: remove"
    wrong = Annotation("t/1", "Who?", "4", (bell,), {"kind": "gold"})
    with pytest.raises(UserError, match=rf"^t/1: solver: {lost}"):
        rows.encode_rows([fine, wrong], scheme, views, tokenizer)
    with pytest.raises(UserError, match=rf"^t/2: question: {lost}"):
        rows.encode_prompts([Problem("t/2", "a\x07", "4", "test")], scheme, tokenizer)
    with pytest.raises(UserError, match=rf"^'a\\x07': {lost}"):
        tokenizer.encode(["fine", "a\x07"])


def test_tokenizer_json_counts_not_a_class_of_another_model(tmp_path):
    """SmolLM2 names GPT-2's class, which does not split digits; and no text is cut to a length."""
    bpe = byte_level()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )  # fmt: skip
    bpe.enable_truncation(4)
    path = tmp_path / "tokenizer_config.json"
    theirs = saved(tmp_path, bpe)
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"tokenizer_class": "GPT2Tokenizer"}))
    tokenizer = load_tokenizer(theirs)
    assert len(tokenizer.encode(["12345678"])[0]) == 8
    tokenizer.save(tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "tokenizer.json").read_text())
    assert stored["pre_tokenizer"]["pretokenizers"][0]["type"] == "Digits"


def weights(path, rows):
    """A random Qwen 2 with so many rows of the embedding, as transformers writes it."""
    config = transformers.Qwen2Config(
        vocab_size=rows, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32,
        tie_word_embeddings=True,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).save_pretrained(path)
    section = base.model_size()
    section.init_from = str(path)
    return section


def test_more_rows_than_ids_are_taken_and_never_written(tmp_path):
    """As in Qwen 2.5's files, which have 271 rows without an id in 151,936."""
    tokenizer = load_tokenizer(saved(tmp_path / "tokenizer", byte_level(CHATML)))
    assert tokenizer.size == 259
    section = weights(tmp_path / "spare", 260)
    model = student_source.model_config(section, "solver", tokenizer)
    params, _ = student_source.given_params(section.init_from, "the key", model)
    head = np.asarray(model.head(params))
    assert model.vocab_size == len(head) == 384
    assert np.abs(head[260:] - head[:260].mean(axis=0)).max() < 1e-6
    one = ViewRules("solver", model, (True,))
    marks = tokenizer.end_of_turn, tokenizer.end_of_text, tokenizer.size
    rules = TurnRules((one,), (0,), (0,), (False,), (True,), *marks, 1, 9, 9)
    [allowed] = np.asarray(allowed_tokens(rules))
    assert allowed[:259].sum() == 258 and not allowed[259:].any()
    with pytest.raises(UserError, match="has 300 words, the tokenizer 259"):
        student_source.model_config(weights(tmp_path / "other", 300), "solver", tokenizer)


def test_an_added_mark_is_said_to_be_untrained(tmp_path):
    theirs = saved(tmp_path / "theirs", byte_level(CHATML))
    section = weights(tmp_path / "weights", 259)
    known = load_tokenizer(theirs)
    added = load_tokenizer(theirs, EndMarks(turn="<|over|>"))

    def untrained(tokenizer):
        return student_source.untrained_marks(section, "config.model.solver", tokenizer)

    assert untrained(known) == {} and untrained(added) == {"<|over|>": 259}
    # A tokenizer in which it is already, such as that of an export, beside the same weights.
    added.save(tmp_path / "exported")
    (tmp_path / "exported" / MARKS_FILE).unlink()
    again = load_tokenizer(str(tmp_path / "exported"), EndMarks(turn="<|over|>"))
    assert again.untrained == () and untrained(again) == {"<|over|>": 259}
    section.init_from = str(tmp_path / "checkpoints" / "solver")  # a student of a run knows it
    assert untrained(added) == {}
