"""Several processes, each with its own devices and its own part of every batch.

Every process runs the same command. Process 0 writes the working directory, and sends the others
the parts that they need, so only checkpoints need a place that all of them see.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any

from distill_jax import errors
from distill_jax.errors import UserError


def initialize(
    *,
    processes: int,
    process: int,
    coordinator: str,
    initialization_timeout_s: int,
    heartbeat_timeout_s: int,
) -> None:
    """Join the other processes (config.distributed); does nothing if `processes` is 1.

    With `processes` 0 the environment decides (TPU pods, Slurm, Open MPI, Kubernetes), as in
    jax.distributed. If a process dies, the others are aborted with exit code 134 within
    `heartbeat_timeout_s`, instead of waiting for ever. Call this before anything else of jax.
    """
    if processes == 1:
        return
    import jax

    given: dict[str, Any] = {}
    if processes > 1:
        if not coordinator or not 0 <= process < processes:
            raise UserError(
                f"config.distributed.processes={processes} needs "
                f"config.distributed.coordinator=HOST:PORT of process 0, and in each process its "
                f"number, config.distributed.process=0 to {processes - 1} (now {process})"
            )
        given = {
            "coordinator_address": coordinator,
            "num_processes": processes,
            "process_id": process,
        }
    try:
        jax.distributed.initialize(
            initialization_timeout=initialization_timeout_s,
            heartbeat_timeout_seconds=heartbeat_timeout_s,
            **given,
        )
        errors.handle_signals()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"the processes cannot find each other ({reason}): set config.distributed.processes, "
            "process and coordinator"
        ) from None


def send(value: Any) -> Any:
    """`value` of process 0, in every process; the others' values are ignored. JSON types only."""
    import jax

    if jax.process_count() == 1:
        return value
    import numpy as np
    from jax.experimental import multihost_utils

    first = jax.process_index() == 0
    data = json.dumps(value).encode() if first else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int64(len(data))))
    buffer = np.zeros(size, np.uint8)
    if first:
        buffer[:] = np.frombuffer(data, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(buffer), np.uint8)
    return json.loads(received.tobytes())


def processes() -> int:
    """How many processes take part."""
    import jax

    return jax.process_count()


def process_index() -> int:
    """The number of this process, from 0."""
    import jax

    return jax.process_index()


def gather(value: Any) -> list[Any]:
    """`value` of every process, in all of them. JSON types only."""
    import jax

    if jax.process_count() == 1:
        return [value]
    import numpy as np
    from jax.experimental import multihost_utils

    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int64(len(data))).ravel()
    buffer = np.zeros(int(sizes.max()), np.uint8)
    buffer[: len(data)] = data
    everything = np.asarray(multihost_utils.process_allgather(buffer), np.uint8)
    return [json.loads(row[:size].tobytes()) for row, size in zip(everything, sizes, strict=True)]


def any_process(flag: bool) -> bool:
    """Whether `flag` is true in any process; all of them must call this."""
    import jax

    if jax.process_count() == 1:
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.array([flag]))))


def first_agrees(flag: bool) -> bool:
    """`flag` of process 0, in every process; all must call this, the others' flags are ignored."""
    import jax

    if jax.process_count() == 1:
        return flag
    import numpy as np
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.array([flag]))[0])


def wait_for_all(name: str) -> None:
    """Return when every process is here."""
    import jax

    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def leave_together() -> None:
    """End the connection after every process is here: one that left earlier would abort the
    others."""
    import jax

    if jax.process_count() > 1:
        jax.distributed.shutdown()


def is_first() -> bool:
    """Whether this is the process that writes."""
    import jax

    return jax.process_index() == 0


def check_shared(directory: Any) -> None:
    """Raise UserError in every process if one does not see `directory` of process 0."""
    import jax

    if jax.process_count() == 1:
        return
    name = send(f".shared-{uuid.uuid4().hex}")
    probe = directory / name
    if is_first():
        directory.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
    wait_for_all(name)
    missing = any_process(not probe.exists())
    wait_for_all(name + "-seen")
    if is_first():
        probe.unlink()
    if missing:
        raise UserError(
            f"{directory} is not seen by all {jax.process_count()} processes: set "
            "config.checkpoint_dir to a place they share (a network disk, or gs://BUCKET/DIR)"
        )


def from_first(make: Callable[[], Any]) -> Any:
    """The result of `make()` in process 0 (JSON types), in every process.

    A UserError in process 0 is raised in all of them, so that none waits for the others.
    """
    import jax

    if jax.process_count() == 1:
        return make()
    result: dict[str, Any] = {}
    if is_first():
        try:
            result = {"value": make()}
        except UserError as error:
            result = {"error": str(error)}
    result = send(result)
    if "error" in result:
        raise UserError(result["error"])
    return result["value"]
