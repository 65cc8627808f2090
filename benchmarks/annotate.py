"""The cost of our asking, compared with the same requests by a bare asyncio client, on a local
server.

python benchmarks/annotate.py --output annotate.json

A separate process serves the same answer after 50 ms. Two sides alternate and send equally many
requests, 64 at a time: (a) the bare OpenAI SDK: 64 coroutines that call `create` and drop the
answer, and (b) our Asking, which renders prompts, looks them up, paces, retries, and appends every
answer to the cache. Then `--many` problems are asked about once, and the memory is read meanwhile.
"""

import argparse
import asyncio
import multiprocessing
import pathlib
import resource
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from scripted_server import Act, ScriptedServer  # noqa: E402

from benchmarks.results import Results, say, significant  # noqa: E402
from distill_jax.records import Problem  # noqa: E402
from distill_jax.teacher.asking import Asking  # noqa: E402
from distill_jax.teacher.cache import AnswerCache  # noqa: E402
from distill_jax.teacher.conversation import Conversation, Question  # noqa: E402
from distill_jax.teacher.prompt import load_prompt  # noqa: E402
from distill_jax.teacher.settings import TeacherSettings  # noqa: E402

REPLY = "Q: How many are there?\nA: There are 3+4 = <<3+4=7>>7 of them.\n#### 7"


def serve(pipe, wait_s):
    """The server's process: sends its address, and ends when the pipe ends."""
    with ScriptedServer(lambda *_: Act(text=REPLY, wait_s=wait_s), keep_bodies=False) as server:
        pipe.send(server.url)
        pipe.recv()


def settings_of(url, directory, concurrency):
    return TeacherSettings(
        model="scripted", base_url=url, api="chat", prompt="socratic", samples=1, temperature=0.0,
        top_p=1.0, max_tokens=512, max_tokens_name="max_tokens", reasoning="drop", extra="",
        concurrency=concurrency, requests_per_minute=0, tokens_per_minute=0, timeout_s=60.0,
        retries=5, price_input=0.0, price_output=0.0, cache_dir=directory,
    )  # fmt: skip


def questions_of(count):
    text = "A shop has {} boxes with 12 pens each and sells 7 pens. How many pens are left?"
    return [
        Question(Problem(f"pens/train/{n}", text.format(n), str(12 * n - 7), "train"), ())
        for n in range(count)
    ]


def bare(settings, requests):
    """Seconds for all requests with only the SDK."""
    import openai

    async def work(client, waiting):
        for request in waiting:
            await client.chat.completions.create(**request)

    async def all_of_them():
        async with openai.AsyncOpenAI(
            base_url=settings.base_url, api_key="none", max_retries=0
        ) as client:
            waiting = iter(requests)
            await asyncio.gather(*(work(client, waiting) for _ in range(settings.concurrency)))

    began = time.perf_counter()
    asyncio.run(all_of_them())
    return time.perf_counter() - began


def ours(settings, conversation, questions, on_progress=lambda done, usage: None):
    """Seconds for all questions, including the cache."""
    with AnswerCache(settings.cache_dir, settings.model, say) as cache:
        began = time.perf_counter()
        asking = Asking(settings, conversation, cache, 100.0, print, on_progress)
        asking.run(questions, 1)
        assert not asking.failures and asking.usage.answers == len(questions)
        return time.perf_counter() - began


def memory_over_many(settings, conversation, count):
    """MiB in use at every tenth of `count` questions."""
    questions, readings = questions_of(count), []

    def read(done, usage):
        if done % (count // 10) == 0:
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
            readings.append(round(pages * resource.getpagesize() / 2**20, 1))

    seconds = ours(settings, conversation, questions, read)
    return {
        "questions": count,
        "mib_at_tenths": readings,
        "per_second": significant(count / seconds),
    }


def throughput(arguments, url, conversation):
    """Medians of rounds in which both take turns; the first round is warm-up."""
    questions = questions_of(arguments.requests)
    requests = [conversation.next_request(question, ()) for question in questions]
    seconds = {"bare": [], "ours": []}
    for number in range(arguments.repeats + 1):
        with tempfile.TemporaryDirectory() as directory:
            settings = settings_of(url, directory, arguments.concurrency)
            taken = bare(settings, requests), ours(settings, conversation, questions)
        say(f"round {number}: bare {taken[0]:.2f} s, ours {taken[1]:.2f} s")
        if number:
            seconds["bare"].append(taken[0])
            seconds["ours"].append(taken[1])
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "requests_per_second": {
            name: significant(arguments.requests / median) for name, median in medians.items()
        },
        "seconds_of_each_round": seconds,
        "overhead": significant(medians["ours"] / medians["bare"] - 1),
        "most_possible_per_second": arguments.concurrency / arguments.latency_ms * 1000,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency_ms", type=float, default=50.0)
    parser.add_argument("--many", type=int, default=100_000)
    arguments = parser.parse_args()
    results = Results(arguments.output, arguments)
    pipe, end = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(end, arguments.latency_ms / 1000), daemon=True
    )
    server.start()
    url = pipe.recv()
    prompt = load_prompt("socratic", "gsm8k")
    conversation = Conversation(prompt, settings_of(url, "", arguments.concurrency))
    results.add("annotate", "throughput", throughput(arguments, url, conversation))
    if arguments.many:
        with tempfile.TemporaryDirectory() as directory:
            settings = settings_of(url, directory, arguments.concurrency)
            many = memory_over_many(settings, conversation, arguments.many)
            results.add("annotate", "memory", many)
    pipe.send(None)
    results.show()


if __name__ == "__main__":
    main()
