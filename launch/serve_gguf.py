#!/usr/bin/env python3
"""Serve a GGUF model with llama.cpp on loopback, with OpenAI's interface, until it is stopped.

    python launch/serve_gguf.py FILE.gguf [PORT]

Needs `pip install xllamacpp`. Says where it listens as soon as it answers.
"""

import signal
import sys


def main(path: str, port: int = 8974) -> None:
    """One request at a time, so that the beginning that all prompts share is read once."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = path
    settings.n_ctx, settings.n_parallel = 4096, 1
    settings.hostnames, settings.port = ["127.0.0.1"], port
    server = xllamacpp.Server(settings)
    print(f"serving {path} on {server.listening_address}/v1", flush=True)
    signal.pause()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python launch/serve_gguf.py FILE.gguf [PORT]")
    main(sys.argv[1], *map(int, sys.argv[2:]))
