"""GGUF files of a few kilobytes, written with the package gguf and nothing of ours."""

import json

import gguf
import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

WIDTH, HIDDEN, LAYERS, HEADS, KEY_HEADS, DIM = 32, 256, 2, 4, 2, 8
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = "<think>"
TEXT = [
    "Ann has 15 apples and 3 pears. How many pieces of fruit does she have? 15 + 3 = 18",
    "Don't say that we'll win 1234 times; they've lost, I'm sure. Wie groß ist es? 日本語",
]


def tokenizer(rows: int) -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types and merges of a byte-level BPE, filled with unused tokens to `rows`."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=rows - 16,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=1,
    )
    bpe.train_from_iterator(TEXT * 3, trainer)
    vocabulary = bpe.get_vocab()
    tokens = [*sorted(vocabulary, key=vocabulary.get), USER_DEFINED]
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 4)
    kinds += [gguf.TokenType.USER_DEFINED]
    unused = rows - len(tokens)
    tokens += [f"[PAD{number}]" for number in range(unused)]
    kinds += [gguf.TokenType.UNUSED] * unused
    merges = [" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    return tokens, [int(kind) for kind in kinds], merges


def metadata(architecture: str = "llama", rows: int = 400) -> dict:
    """{key: value} of a tiny model; lists of texts and integers are arrays."""
    tokens, kinds, merges = tokenizer(rows)
    sizes = {
        "block_count": LAYERS,
        "context_length": 64,
        "embedding_length": WIDTH,
        "feed_forward_length": HIDDEN,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KEY_HEADS,
        "attention.key_length": DIM,
        "attention.value_length": DIM,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": DIM,
        "rope.freq_base": 5e4,
    }
    return {f"{architecture}.{key}": value for key, value in sizes.items()} | {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    }


def weights(architecture: str = "llama", rows: int = 400) -> dict[str, np.ndarray]:
    """{name in GGUF: float32 array} of a tiny model whose answers vary."""
    draw = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (rows, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        inside: dict[str, tuple[int, ...]] = {
            "attn_norm.weight": (WIDTH,),
            "attn_q.weight": (HEADS * DIM, WIDTH),
            "attn_k.weight": (KEY_HEADS * DIM, WIDTH),
            "attn_v.weight": (KEY_HEADS * DIM, WIDTH),
            "attn_output.weight": (WIDTH, HEADS * DIM),
            "ffn_norm.weight": (WIDTH,),
            "ffn_gate.weight": (HIDDEN, WIDTH),
            "ffn_up.weight": (HIDDEN, WIDTH),
            "ffn_down.weight": (WIDTH, HIDDEN),
        }
        if architecture == "qwen2":
            inside["attn_q.bias"] = (HEADS * DIM,)
            inside["attn_k.bias"] = inside["attn_v.bias"] = (KEY_HEADS * DIM,)
        if architecture == "qwen3":
            inside["attn_q_norm.weight"] = inside["attn_k_norm.weight"] = (DIM,)
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in inside.items()}
    arrays = {}
    for name, shape in shapes.items():
        array = draw.normal(size=shape).astype(np.float32)
        arrays[name] = 1 + array / 10 if name.endswith("norm.weight") else array / 4
    return arrays


def write(path, architecture="llama", *, values=None, tensors=None, blocks=None):
    """Write `path`; `values` and `tensors` replace the defaults; `blocks` is {name: (bytes, type)}.

    A value None leaves its key out.
    """
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (metadata(architecture) if values is None else values).items():
        _add(writer, key, value)
    for name, array in (weights(architecture) if tensors is None else tensors).items():
        if name in (blocks or {}):
            continue
        writer.add_tensor(name, array)
    for name, (data, kind) in (blocks or {}).items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer, key, value):
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif value is not None:
        writer.add_string(key, value)
