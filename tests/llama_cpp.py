"""A real llama.cpp in this process, for tests; they are skipped without the package xllamacpp."""

import json
import urllib.request

import pytest


def serve(path, context=64):
    """llama.cpp's server of the model at `path`; it stops when nothing refers to it any more."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="no llama.cpp: pip install xllamacpp")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(path)
    settings.n_ctx, settings.n_parallel, settings.warmup = context, 1, False
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    # More threads wait for one another in busy loops if the machine has other work.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(settings)
    # A server that is given up before its loop has begun waits for that loop for ever.
    post(server, "/completion", {"prompt": "a", "n_predict": 1})
    return server


def post(server, route, body):
    """The server's JSON reply to a JSON request."""
    request = urllib.request.Request(
        server.listening_address + route,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def tokenize(server, text, *, special=False, bos=False):
    """llama.cpp's ids of a text; `special`: text may spell a control token."""
    body = {"content": text, "parse_special": special, "add_special": bos}
    return post(server, "/tokenize", body)["tokens"]
