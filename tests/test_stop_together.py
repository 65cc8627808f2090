"""Two real processes answer together; process 0 stops early, and both end."""

import json
import subprocess
import sys

from experiment_runs import QUICK_COMPILATION, ROOT, environment
from test_processes import free_port

QUESTIONS = [
    f"Ann has {n} cups. Ann wins 5 cups. How many cups does Ann have now?" for n in range(9)
]
SCRIPT = """
import contextlib, json, sys
workdir, number, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
questions = json.loads(sys.argv[4])
from distill_jax import distributed, errors
distributed.initialize(
    processes=2, process=number, coordinator=f"127.0.0.1:{port}",
    initialization_timeout_s=60, heartbeat_timeout_s=10,
)
import distill_jax
from distill_jax.dialogues.answerer import Look
from distill_jax.sampling import decode
run, chunks = decode.decode_chunk, []
def counted(*arguments):
    chunks.append(None)
    return run(*arguments)
decode.decode_chunk = counted
students = distill_jax.load(workdir, mesh__data=-1)

def ask(stop):
    # What this process sees until it is closed, or ends.
    chunks.clear()
    looks, solved = 0, []
    with contextlib.closing(students.answer(questions, slots=2)) as events:
        for event in events:
            if isinstance(event, Look):
                looks += 1
            else:
                solved.append([event.question, event.answer, [t.text for t in event.turns]])
            if number == 0 and stop(looks, solved):
                break
    return {"chunks": len(chunks), "looks": looks, "solved": solved}

def interrupt(looks, solved):
    raise errors.Interrupted  # in process 0 alone

results = {
    "whole": ask(lambda looks, solved: False),
    "at the first look": ask(lambda looks, solved: True),
    "in the middle": ask(lambda looks, solved: len(solved) == 3),
    "at the last event": ask(lambda looks, solved: len(solved) == len(questions)),
}
try:
    with contextlib.closing(students.answer(questions, slots=2)) as events:
        for event in events:
            raise KeyError
except KeyError:
    pass  # in both: neither waits for the other
try:
    ask(interrupt)
except errors.Interrupted:
    pass
results["whole again"] = ask(lambda looks, solved: False)
print("RESULTS" + json.dumps(results), flush=True)
distributed.leave_together()
"""


def test_process_0_stops_early_and_both_end(tiny_run):
    port = free_port()
    flags = f"{QUICK_COMPILATION} --xla_force_host_platform_device_count=1"
    arguments = [str(tiny_run[0]), "N", str(port), json.dumps(QUESTIONS)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, arguments[0], str(number), *arguments[2:]],
            cwd=ROOT, env=environment(flags), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in (0, 1)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=240) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], outputs
    first, second = (json.loads(out.partition("RESULTS")[2]) for out, _ in outputs)
    whole = first["whole"]
    assert len(whole["solved"]) == 9 and whole["chunks"] > 3
    for name in ("whole", "whole again", "at the last event"):
        assert first[name] == second[name] == whole, name
    # Process 1 sees the rest of the chunk that both ran, and no other chunk.
    stopped, told = first["at the first look"], second["at the first look"]
    assert stopped == {"chunks": 1, "looks": 1, "solved": []}
    assert told["chunks"] == 1 and told["looks"] == 2
    stopped, told = first["in the middle"], second["in the middle"]
    assert stopped["solved"] == whole["solved"][:3] == told["solved"][:3]
    assert stopped["chunks"] == told["chunks"] < whole["chunks"]
