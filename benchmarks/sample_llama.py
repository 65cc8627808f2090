"""Another side of sampling: llama.cpp's server, which clients ask for one turn after another.

Each student has a server with a slot for every dialogue at a time, and a dialogue keeps its slots,
so that only what a student has not read yet is read (cache_prompt). A turn is as long as the gold
one (n_predict, ignore_eos). A student continues with what both wrote: random tokens of the same
number as the gold ones. Every turn has a connection of its own.

free    a client begins its next turn at once; it takes the next dialogue when its own has ended
locked  all dialogues of a batch write their turn, then all write the next one
"""

import collections
import concurrent.futures
import json
import pathlib
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import xllamacpp

from benchmarks.sample_job import SampleJob, SampleSetting

WAYS = ("free", "locked")
LIMIT_S = 600  # of one turn
CACHES = {
    "f32": xllamacpp.ggml_type.GGML_TYPE_F32,
    "f16": xllamacpp.ggml_type.GGML_TYPE_F16,
}


class Loop:
    """See `peers.Peer`: `run(job)` for a `SampleJob`; the setting's weights are GGUF files."""

    def __init__(self, setting: SampleSetting):
        self._setting = setting
        self._servers: list[Any] = []
        self._servers_of: Any = None

    def prepare(self, job: SampleJob) -> dict[str, Any]:
        """Start the servers for so many dialogues at a time and threads."""
        longest = max(
            len(prompt) + len(tokens)
            for prompt, tokens in zip(job.prompts, job.forced or (), strict=True)
        )
        wanted = (job.batch_size, job.threads, longest)
        if self._servers_of != wanted:
            self._servers.clear()
            self._servers = [
                serve(path, self._setting.dtype, *wanted) for path in self._setting.weights
            ]
            self._servers_of = wanted
        return {"device": xllamacpp.get_system_info(), "build": xllamacpp.BUILD_INFO}

    def run(self, job: SampleJob) -> dict[str, Any]:
        """Write every dialogue.

        seconds   from prompts as lists to tokens as lists
        tokens    written
        problems  prompts
        ok        every turn has as many tokens as the gold one
        reread    tokens that a student read although it had read them before; less than 0 if
                  prompts begin alike
        """
        self.prepare(job)
        rooms = collections.deque(range(job.batch_size))
        dialogues = [
            Growing(prompt, turn_lengths(tokens, job.caps.end_of_turn))
            for prompt, tokens in zip(job.prompts, job.forced or (), strict=True)
        ]
        run = {"free": _run_free, "locked": _run_locked}[job.variant]
        start = time.perf_counter()
        run(self._servers, dialogues, rooms)
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "tokens": sum(len(each.text) - each.read for each in dialogues),
            "problems": len(dialogues),
            "ok": all(each.as_long for each in dialogues),
            "reread": sum(each.reread for each in dialogues),
        }


class Growing:
    """A dialogue: `text` is the prompt and what was written so far."""

    def __init__(self, prompt: Sequence[int], lengths: Sequence[int]):
        self.text, self.lengths, self.read = list(prompt), list(lengths), len(prompt)
        self.as_long, self.reread = True, 0
        self._in_cache = [0, 0]  # tokens that each student has read

    def write_turn(self, servers: Sequence[Any], number: int, slot: int) -> None:
        """Turn `number`, by the student whose turn it is, in its slot."""
        role, length = number % len(servers), self.lengths[number]
        reply = post(servers[role], request(self.text, length, slot))
        unread = len(self.text) - self._in_cache[role]
        self.reread += reply["timings"]["prompt_n"] - unread
        self.as_long &= len(reply["tokens"]) == length
        self.text += reply["tokens"]
        self._in_cache[role] = len(self.text) - 1  # the last token was not read any more


def request(text: Sequence[int], length: int, slot: int) -> dict[str, Any]:
    """The body of a request for `length` tokens after `text`, the most likely ones."""
    return {
        "prompt": list(text), "n_predict": length, "ignore_eos": True, "id_slot": slot,
        "cache_prompt": True, "return_tokens": True, "samplers": ["top_k"], "top_k": 1,
    }  # fmt: skip


def turn_lengths(written: Sequence[int], end_of_turn: int) -> list[int]:
    """Tokens of each turn, its end mark counted; the last one ends in the end of the text."""
    ends = [
        i + 1 for i, token in enumerate(written) if token == end_of_turn or i == len(written) - 1
    ]
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def serve(path: str, caches: str, slots: int, threads: int, longest: int) -> Any:
    """llama.cpp's server of the model at `path`, with `slots` slots of `longest` tokens; `caches`
    is f32 or f16. It stops when nothing refers to it any more."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(pathlib.Path(path))
    room = -(-(longest + 1) // 256) * 256  # llama.cpp rounds up to this
    settings.n_parallel, settings.n_ctx, settings.kv_unified = slots, slots * room, False
    settings.cache_type_k = settings.cache_type_v = CACHES[caches]
    settings.cache_ram_mib = 0  # no copies of caches beside the slots
    settings.warmup, settings.hostnames, settings.port = False, ["127.0.0.1"], 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.verbosity = -1
    server = xllamacpp.Server(settings)
    # A server that is given up before its loop has begun waits for that loop for ever.
    post(server, request([0], 1, 0))
    return server


def post(server: Any, body: dict[str, Any]) -> dict[str, Any]:
    """The server's answer."""
    call = urllib.request.Request(
        server.listening_address + "/completion",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=LIMIT_S) as reply:
        return json.load(reply)


def _run_free(servers: Sequence[Any], dialogues: Sequence[Growing], rooms: Any) -> None:
    waiting = iter(dialogues)
    lock = threading.Lock()

    def own(slot: int) -> None:
        for dialogue in _shared(waiting, lock):
            for number in range(len(dialogue.lengths)):
                dialogue.write_turn(servers, number, slot)

    with concurrent.futures.ThreadPoolExecutor(len(rooms)) as pool:
        list(pool.map(own, list(rooms)))


def _shared(items: Iterator[Growing], lock: threading.Lock) -> Iterator[Growing]:
    """The items that no other thread has taken."""
    while True:
        with lock:
            item = next(items, None)
        if item is None:
            return
        yield item


def _run_locked(servers: Sequence[Any], dialogues: Sequence[Growing], rooms: Any) -> None:
    # Dialogues of similar length, so that few wait for the longest one.
    ordered = sorted(dialogues, key=lambda each: len(each.lengths))
    with concurrent.futures.ThreadPoolExecutor(len(rooms)) as pool:
        for start in range(0, len(ordered), len(rooms)):
            batch = ordered[start : start + len(rooms)]
            for number in range(max(len(each.lengths) for each in batch)):
                turns = [
                    pool.submit(each.write_turn, servers, number, slot)
                    for each, slot in zip(batch, rooms, strict=False)
                    if number < len(each.lengths)
                ]
                for turn in turns:
                    turn.result()
