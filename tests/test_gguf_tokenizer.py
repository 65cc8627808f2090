"""Tokenizers out of GGUF files: ids as llama.cpp gives them, and as transformers after saving."""

import json
import os
import pathlib
import random

import pytest

gguf = pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
import llama_cpp  # noqa: E402
import tiny_gguf  # noqa: E402
import tokenizers  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from test_hugging_face_export import gpt2_tokenizer  # noqa: E402

from distill_jax.errors import UserError  # noqa: E402
from distill_jax.gguf_file import GGUFFile  # noqa: E402
from distill_jax.text import gguf_tokenizer  # noqa: E402
from distill_jax.text.gguf_tokenizer_export import pre_tokenizer_name  # noqa: E402
from distill_jax.text.lost_characters import LostCharacters, byte_letters  # noqa: E402
from distill_jax.text.tokenizer import train_tokenizer  # noqa: E402

PIECES = [
    "Ann", " has", " 15", "1234567", "3.14", "$5", "½", "Ⅷ", "don't", "WE'LL", "'S", "'\u017f", " ",
    "   ", "\n", "\n\n", " \n  ", "\t", "\r\n", "\u00a0", "\u3000", "\u0085", "é", "e\u0301", "ß",
    "日本語", "한국", "हिन्दी", "👩\u200d🚀", "\x00", "\x1c", "_", "-", "...", "<|im_end|>",
    "<think>", "<|im_start|>user\n", "<<48/2=24>>24", "#### 72", "http://a.b/c?d=1",
]  # fmt: skip


def texts(number):
    """Drawn from pieces that the rules treat differently, and from the data if there is any."""
    draw = random.Random(0)
    made = ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(number)]
    directory = os.environ.get("DISTILL_JAX_DATA")
    if directory:
        for path in sorted(pathlib.Path(directory).glob("gsm8k/*.jsonl")):
            lines = path.read_text(encoding="utf-8").splitlines()
            made += [draw.choice(list(json.loads(line).values())) for line in lines[:50]]
    return made


def write(path, pre="smollm", **changes):
    values = tiny_gguf.metadata() | {"tokenizer.ggml.pre": pre}
    values |= {f"tokenizer.{key}": value for key, value in changes.items()}
    return tiny_gguf.write(path / "m.gguf", values=values)


def read(path, pre="smollm", **changes):
    return gguf_tokenizer.read_tokenizer(GGUFFile(write(path, pre, **changes)))


@pytest.mark.parametrize("pre", gguf_tokenizer.PRE_TOKENIZERS)
def test_ids_are_those_of_llama_cpp_and_of_transformers_after_saving(tmp_path, pre):
    import transformers

    # Without the merge that makes this word, only llama-bpe finds it in the vocabulary.
    merges = tiny_gguf.metadata()["tokenizer.ggml.merges"]
    kept = [merge for merge in merges if merge.replace(" ", "") != "Ġpears"]
    assert len(kept) == len(merges) - 1
    changes = {"ggml.merges": kept}
    ours = read(tmp_path, pre, **changes).tokenizer
    whole = ours.token_to_id("Ġpears")
    assert (whole in ours.encode("Ann has pears").ids) == (pre == "llama-bpe")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    read(tmp_path, pre, **changes).transformers_tokenizer().save_pretrained(tmp_path)
    saved = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(saved) == ours.get_vocab_size()
    assert pre_tokenizer_name(tmp_path / "tokenizer.json") == pre
    server = llama_cpp.serve(tmp_path / "m.gguf")
    for text in [*texts(200), "Ann has pears"]:
        for special in (False, True):
            ours.encode_special_tokens = not special
            ids = ours.encode(text, add_special_tokens=False).ids
            assert ids == llama_cpp.tokenize(server, text, special=special), text
            assert ours.decode(ids, skip_special_tokens=False) == text
        assert saved(text, add_special_tokens=False).input_ids == ids, text
        assert saved.decode(ids) == text


def test_special_tokens_of_a_chat_model(tmp_path):
    loaded = read(tmp_path)
    assert loaded.special == {0: "<|endoftext|>", 1: "<|im_start|>", 2: "<|im_end|>"}
    assert (loaded.bos, loaded.eos, loaded.pad) == (1, 2, 2)
    assert (loaded.end_of_turn, loaded.end_of_text) == (2, 0)
    assert not loaded.adds_bos and not loaded.adds_eos
    assert (
        loaded.tokenizer.encode("a").ids
        == loaded.tokenizer.encode("a", add_special_tokens=False).ids
    )
    # Rows of the embedding without a text are not part of the vocabulary.
    assert loaded.tokenizer.get_vocab_size() < 400
    assert loaded.tokenizer.id_to_token(399) is None
    assert loaded.transformers_tokenizer().chat_template == loaded.chat_template
    assert loaded.chat_template == tiny_gguf.metadata()["tokenizer.chat_template"]
    assert read(tmp_path, **{"ggml.eot_token_id": 1}).end_of_turn == 1
    plain = read(tmp_path, **{"chat_template": None, "ggml.bos_token_id": None})
    assert plain.chat_template is None and plain.bos is None


@pytest.mark.parametrize(
    ("pre", "key", "added"),
    [("smollm", None, False), ("smollm", True, True), ("llama-bpe", None, True),
     ("llama-bpe", False, False)],
)  # fmt: skip
def test_bos_is_added_as_llama_cpp_adds_it(tmp_path, pre, key, added):
    import transformers

    loaded = read(tmp_path, pre, **{"ggml.add_bos_token": key})
    assert loaded.adds_bos == added
    ids = loaded.tokenizer.encode("Ann has").ids
    assert (ids[0] == 1) == added
    assert ids == llama_cpp.tokenize(
        llama_cpp.serve(tmp_path / "m.gguf"), "Ann has", special=True, bos=True
    )
    loaded.transformers_tokenizer().save_pretrained(tmp_path)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path)("Ann has").input_ids == ids


def test_eos_is_added_if_the_file_says_so(tmp_path):
    loaded = read(tmp_path, **{"ggml.add_eos_token": True, "ggml.add_bos_token": True})
    assert loaded.adds_eos
    ids = loaded.tokenizer.encode("Ann").ids
    assert ids[0] == 1 and ids[-1] == 2 and 2 not in ids[:-1]


def changed(key, place, value):
    values = list(tiny_gguf.metadata()[f"tokenizer.{key}"])
    values[place] = value
    return {key: values}


REFUSED = {
    "unigram": ({"ggml.model": "llama"}, "of the kind llama, only byte-level BPE"),
    "rule": (
        {"ggml.pre": "deepseek-llm"},
        "the rule deepseek-llm; supported are smollm, gpt-2, llama-bpe, qwen2",
    ),
    "no rule": ({"ggml.pre": None}, "has no tokenizer.ggml.pre"),
    "types": ({"ggml.token_type": [1, 2]}, "has 400 tokens, but 2 token types"),
    "twice": (changed("ggml.tokens", 9, "!"), r"tokens 3 and 9 are both '!'"),
    "merge": (changed("ggml.merges", 1, "xyz abc"), "the merge 'xyz abc' joins tokens"),
    "half": (changed("ggml.merges", 1, "x"), "the merge 'x' joins tokens"),
    "id": ({"ggml.eos_token_id": 400}, "eos_token_id is 400, but there are 400 tokens"),
    "kind": ({"ggml.tokens": [1, 2]}, "tokenizer.ggml.tokens should be a list of str"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(tmp_path, name):
    changes, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        read(tmp_path, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("damage")
    content = write(directory).read_bytes()
    return directory, content, gguf.GGUFReader(directory / "m.gguf").data_offset


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_ends_in_one_line(whole, data):
    directory, content, start = whole
    changed = bytearray(content)
    changed[data.draw(st.integers(0, start - 1))] ^= data.draw(st.integers(1, 255))
    path = directory / "damaged.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(changed)
    try:
        gguf_tokenizer.read_tokenizer(GGUFFile(path)).tokenizer.encode("Ann has 15 apples")
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


# As they stand in the tokenizer.json of SmolLM2, of Llama 3 and of Qwen 2 on the Hub.
PUBLISHED = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
    "llama-bpe": [
        {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": {"Regex": (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")}},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
    "qwen2": [
        {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": {"Regex": (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
            r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")}},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ],
}  # fmt: skip


def test_names_of_splitting_rules(tmp_path):
    gpt2_tokenizer(tmp_path / "gpt2")
    path = tmp_path / "gpt2" / "tokenizer.json"
    assert pre_tokenizer_name(path) == "gpt-2"
    stored = json.loads(path.read_text())
    for name, parts in PUBLISHED.items():
        stored["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
        path.write_text(json.dumps(stored))
        tokenizers.Tokenizer.from_file(str(path))  # it is one that the library reads
        assert pre_tokenizer_name(path) == name
    for normaliser, known in (("NFC", True), ("NFKC", False), ("Lowercase", False)):
        path.write_text(json.dumps(stored | {"normalizer": {"type": normaliser}}))
        if known:
            assert pre_tokenizer_name(path) == name
        else:
            with pytest.raises(UserError, match=r"llama\.cpp cannot split text as"):
                pre_tokenizer_name(path)
    train_tokenizer(["one two three"] * 3, 300).save(tmp_path / "own")
    with pytest.raises(UserError, match=r"llama\.cpp cannot split text as .*own/tokenizer.json"):
        pre_tokenizer_name(tmp_path / "own" / "tokenizer.json")


def test_letters_of_bytes_are_those_of_the_library():
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    letters = byte_letters()
    assert len(set(letters)) == 256
    assert set(letters) == set(split.alphabet())
    for character in ("\x00", "A", " ", "\x7f", "ß", "\u00ad", "日", "\U0001f600"):
        spelt = "".join(letters[byte] for byte in character.encode())
        assert split.pre_tokenize_str(character)[0][0] == spelt


@settings(deadline=None)
@given(
    text=st.text(st.sampled_from("ab ßé日\x04\n\U0001f600")),
    missing=st.sets(st.sampled_from([*"ab ßé日\x04\U0001f600".encode()])),
)
def test_lost_characters(text, missing):
    """Against a real tokenizer whose vocabulary lacks some bytes, character by character."""
    letters = byte_letters()
    vocabulary = {letters[byte]: byte for byte in range(256) if byte not in missing}
    lost = LostCharacters(vocabulary)
    assert set(lost.bytes) == missing
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    expected = ""
    for character in text:
        if len(bpe.encode(character).ids) < len(character.encode()) and character not in expected:
            expected += character
    assert lost(text) == expected
