"""What trackers wrote, read as they read it themselves."""

import json
import struct
import subprocess
import sys

from experiment_runs import environment


def _wandb_records(path):
    """The records of a `.wandb` file: behind 7 bytes a log in LevelDB's format."""
    from wandb.proto import wandb_internal_pb2

    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def wandb_sent(directory, name):
    """(step, value) in the files that `wandb sync` would send."""
    found = []
    for path in sorted((directory / "w" / "wandb").glob("offline-run-*/*.wandb")):
        for record in _wandb_records(path):
            items = {i.nested_key[0]: i.value_json for i in record.history.item if i.nested_key}
            if name in items:
                step = json.loads(items[f"{name.split('/')[1]}/step"])
                found.append((step, json.loads(items[name])))
    return found


def trackio_sent(directory, name):
    """(step, value) in trackio's data base."""
    script = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as storage\n"
        "(run,) = storage.get_runs('distill_jax')\n"
        "print(json.dumps(storage.get_logs('distill_jax', run)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env=environment() | {"TRACKIO_DIR": str(directory / "trackio")},
    )  # fmt: skip
    rows = json.loads(done.stdout.splitlines()[-1])
    return [(row["step"], row[name]) for row in rows if name in row]
