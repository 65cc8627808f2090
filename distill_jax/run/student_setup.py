"""The parts of a student's training: rows, batches, network, optimizer, dev measurement."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from distill_jax.errors import UserError
from distill_jax.model import attention, families, flops, network
from distill_jax.model.lora import Adapter
from distill_jax.model.network import Divided, NetworkConfig
from distill_jax.run import round_setup, student_objective, student_source
from distill_jax.run.rollout_pool import Pool
from distill_jax.run.run import Run
from distill_jax.run.student_objective import Frozen
from distill_jax.text.rows import Row, Rows
from distill_jax.text.tokenizer import Tokenizer
from distill_jax.tracking.terminal import Terminal
from distill_jax.training import batches, optimizer, step
from distill_jax.training.mixup import Draw, MixedRows
from distill_jax.training.pairs import PairRows, usable
from distill_jax.training.removal import Removal
from distill_jax.training.round_batches import RoundBatches
from distill_jax.training.soft_rows import SoftRows
from distill_jax.training.taught_rows import TaughtRows


@dataclasses.dataclass(frozen=True)
class StudentSetup:
    """Built only from the config: the same in every process, except `data` and `dev`."""

    student: str
    trainer: step.Trainer
    schedule: Callable[[int], Any]
    data: batches.Batches | RoundBatches
    pairs: dict[str, PairRows]  # "train", if the rows of `data` are pairs, and "dev", to measure
    dev: list[dict[str, Any]]  # this process's part of the dev batches
    facts: dict[str, Any]  # for training_data.json
    kernel_reason: str
    frozen: dict[str, Frozen]  # the students that its objective only reads


@dataclasses.dataclass(frozen=True)
class Place:
    """The devices on which training is computed."""

    mesh: jax.sharding.Mesh
    platform: str  # "cpu", "gpu" or "tpu"


class Encoded(NamedTuple):
    """The rows of a student."""

    train: Sequence[Row]
    dev: Sequence[Row]
    teacher: Sequence[Row] | None  # of `train`, as its teacher reads them; None = the same
    dev_pairs: Sequence[Row]  # if it is trained on pairs; () = none
    hard: frozenset[str]  # ids of problems that config.easy calls hard


class Made(NamedTuple):
    """What a student is, and whom it learns from, before its rows are known."""

    model: NetworkConfig
    allowed: Any  # bool [R, V], what each role may write
    adapter: Adapter | None
    teacher: Frozen | None


def student_setup(
    run: Run,
    student: str,
    rows: Encoded,
    made: Made,
    place: Place,
    pool: Pool | None = None,
) -> StudentSetup:
    """`pool`: the problems of rounds, if any. Raises UserError for what does not fit: rows and
    context, sizes and mesh, kernel, teacher."""
    config, model, adapter = run.config, made.model, made.adapter
    source, pairs = _source(run, student, rows, model)
    packed = config.data.packing
    if pairs:
        shape = pairs["train"].shape(config.data.seq_len)
    else:
        seq_len = config.data.seq_len or (model.context if packed else 0)
        shape = batches.row_shape(source, seq_len, packed)
    check_mesh(place.mesh, student, model, config.train.batch_size // config.train.accumulation)
    processes: Any = {"process": jax.process_index(), "processes": jax.process_count()}
    data = batches.Batches(
        source,
        shape,
        seed=config.seed,
        batch_size=config.train.batch_size,
        **processes,
        removal=_removal(config),
    )
    rounds = None if pool is None else round_setup.make_batches(config, source, model, pool)
    shape = shape if rounds is None else rounds.shape
    kernel, reason = attention.choose_kernel(
        config.train.attention,
        place.platform,
        dtype=config.train.dtype,
        seq_len=shape.seq_len,
        head_dim=model.head_dim,
        dropout=model.attention_dropout,
    )
    computation = step.Computation(
        config.train.dtype,
        kernel,
        config.train.remat,
        config.train.accumulation,
        config.train.loss_chunk,
    )
    teacher_len = source.read_by_teacher.longest if rows.teacher else shape.seq_len
    objective, frozen = student_objective.make(run, made.teacher, place.platform, teacher_len)
    facts = _facts(run, source, data, made, frozen)
    if rounds is not None:
        facts = round_setup.facts_of(config, student, rounds, facts)
    if pairs:
        facts["pairs"] = len(source) // source.group
    facts["trained_parameters"] = facts["parameters"] if adapter is None else adapter.count()
    if adapter is not None:
        facts["lora"] = adapter.to_json()
    optimizer_, schedule = make_optimizer(run, student, facts["steps"])
    seed = student_seed(config, student)
    trainer = step.Trainer(model, optimizer_, computation, made.allowed, seed, objective, adapter)
    limit, _ = _limit(run, student, model)
    # Where words are removed, dev is what is left of it in the end.
    removed = data.removal.removed(max(0, facts["steps"] - 1)) if data.removal else 0
    dev = _dev_batches(run, student, rows.dev, limit, processes | {"removed": removed})
    return StudentSetup(
        student, trainer, schedule, rounds or data, pairs, dev, facts, reason, frozen
    )


def _source(
    run: Run, student: str, rows: Encoded, model: NetworkConfig
) -> tuple[batches.StudentRows, dict[str, PairRows]]:
    """What the student is trained on, and its pairs, if it is pairs."""
    config = run.config
    if config.loss.preference:
        pairs = _pair_rows(run, student, rows, model)
        return pairs["train"], pairs
    limit, key = _limit(run, student, model)
    limits = student, limit, config.data.max_dropped_share, key
    if rows.teacher is not None:
        return TaughtRows(rows.train, *limits, rows.teacher), {}
    if config.easy.files and config.easy.hard == "uniform":
        return SoftRows(rows.train, *limits, rows.hard), {}
    if config.loss.mixup:
        return MixedRows(rows.train, *limits, Draw(config.loss.mixup, config.seed)), {}
    return batches.StudentRows(rows.train, *limits), {}


def _limit(run: Run, student: str, model: NetworkConfig) -> tuple[int, str]:
    """The most inputs of a row, and the key that says so."""
    seq_len = run.config.data.seq_len
    if seq_len and seq_len < model.context:
        return seq_len, "config.data.seq_len"
    return model.context, f"config.model.{student}.context"


def _pair_rows(run: Run, student: str, rows: Encoded, model: NetworkConfig) -> dict[str, PairRows]:
    """The pairs that a student can learn from, and those of dev if it is measured. Raises UserError
    if too many do not fit, and if none is left."""
    data, train = run.config.data, run.config.train
    group = 2 * sum(view.student == student for view in run.views)
    found = usable(Rows.of(rows.train), group, model.context, data.seq_len)
    count, key = len(rows.train) // group, f"config.model.{student}.context"
    if found.too_long > data.max_dropped_share * count:
        key = "config.data.seq_len" if data.seq_len else key
        raise UserError(
            f"{found.too_long} of {count} pairs of student {student!r} are too long: raise {key}, "
            "or config.data.max_dropped_share to train without them"
        )
    if not len(found.rows):
        raise UserError(
            f"student {student!r}: both answers of each of its {count} pairs are the same to it: "
            "train the other students alone (--config.train.students)"
        )
    made = {"train": PairRows(found.rows, student, model.context, group)}
    dev = usable(Rows.of(rows.dev_pairs), group, model.context, data.seq_len).rows
    if train.eval_every and len(dev):
        made["dev"] = PairRows(dev, student, model.context, group)
    elif train.best_by == "preference":
        raise UserError(
            "config.train.best_by='preference' needs pairs of dev problems: ask them too, and set "
            "config.train.eval_every above 0"
        )
    return made


def sizes(run: Run, tokenizer: Tokenizer, facts: Mapping[str, Any]) -> dict[str, NetworkConfig]:
    """The size of every student: as recorded in training_data.json, or else as the config says.

    Raises UserError if config.model.<student>.init_from cannot be read.
    """
    models = {
        student: families.from_json(facts[student]["model"])
        if student in facts
        else student_source.model_config(run.config.model[student], student, tokenizer)
        for student in run.students
    }
    # They take turns, so they have the same ids: as many rows as the student with the most.
    rows = max(model.vocab_size for model in models.values())
    return {name: dataclasses.replace(m, vocab_size=rows) for name, m in models.items()}


def make_optimizer(run: Run, student: str, steps: int):
    """(optimizer, schedule) of a student that trains for `steps`."""
    settings = dict(run.config.optimizer[student])
    steps = max(1, steps)  # nothing is asked of the schedule of a student that is not trained
    schedule_keys = ("learning_rate", "final_learning_rate", "warmup_steps")
    schedule = optimizer.learning_rate_schedule(
        steps=steps, **{key: settings.pop(key) for key in schedule_keys}
    )
    return optimizer.make_optimizer(schedule, **settings), schedule


def student_seed(config: Any, student: str) -> int:
    """The seed of a student's initial parameters and dropout: from seed and name, not from the
    order."""
    number = int.from_bytes(hashlib.sha256(student.encode()).digest()[:4], "big")
    return (config.seed * 1_000_003 + number) % 2**32


def check_mesh(
    mesh: jax.sharding.Mesh, student: str, model: NetworkConfig, micro_batch: int
) -> None:
    """Raise UserError if rows or sizes do not divide over the mesh."""
    shape = mesh.shape
    rows = shape["data"] * shape["fsdp"]
    if micro_batch % rows:
        raise UserError(
            f"config.train.batch_size / accumulation {micro_batch} does not divide by {rows} "
            "devices (config.mesh: data x fsdp): set config.train.batch_size to a multiple of "
            f"{rows} x config.train.accumulation"
        )
    vocabulary = Divided("the padded vocabulary", (model.vocab_size,), "tensor")
    for name, sizes, axis in (*model.divided, vocabulary):
        if any(size % shape[axis] for size in sizes):
            of_whom = "" if name == vocabulary.name else f" of student {student!r}"
            does_not = "does not" if len(sizes) == 1 else "do not"
            raise UserError(
                f"{name}{of_whom}: {' and '.join(map(str, sizes))} {does_not} divide by "
                f"{shape[axis]} devices (config.mesh: {axis}): lower config.mesh.{axis} to a "
                f"divisor of {math.gcd(*sizes)}"
            )


def _facts(
    run: Run,
    rows: batches.StudentRows,
    data: batches.Batches,
    made: Made,
    frozen: Mapping[str, Frozen],
) -> dict[str, Any]:
    """The facts about a student's training. Its steps are given, or follow from epochs, or from its
    share of the budget."""
    settings = run.config.train
    epoch_rows = data.rows_per_epoch()
    share = settings.batch_size / epoch_rows  # of an epoch, per step
    budget = settings.token_budget / len(run.students)
    asked = settings.steps or (settings.epochs and epoch_end(settings.epochs, share))
    if data.removal is None:
        steps = asked or max(1, round(budget / (share * rows.tokens)))
        fed = round(steps * share * rows.tokens), round(steps * share * rows.loss_tokens)
    else:
        steps, *fed = _fed(data, asked, budget)
    return {
        "steps": steps,
        "tokens": fed[0],
        "loss_tokens": fed[1],
        "epochs": steps * share,
        "rows": len(rows),
        "dropped_rows": rows.dropped,
        "origins": rows.origins,
        "seq_len": data.shape.seq_len,
        "packed": data.shape.packed,
        "useful_share": rows.tokens / (epoch_rows * data.shape.seq_len),
        "flops_per_token": _flops_per_token(rows, made, frozen, run.config.loss),
        "parameters": network.parameter_count(made.model),
        "model": network.to_json(made.model),
    }


def _flops_per_token(
    rows: batches.StudentRows, made: Made, frozen: Mapping[str, Frozen], loss: Any
) -> float:
    """Of training, for tokens of these rows. Mixtures of rows are read as well as the rows, if
    these have a term of their own."""
    mixed, plain = bool(loss.mixup), bool(loss.likelihood or loss.divergence or loss.preference)
    pairs = sum(flops.causal_pairs(rows.length(index)) for index in range(len(rows)))
    work = made.model, rows.tokens, pairs, rows.loss_tokens
    one = flops.train_flops(*work)
    if made.adapter is not None:
        one = flops.adapter_flops(*work, made.adapter.count())
    needed = (mixed + plain) * one
    read = rows.read_by_teacher
    if read is not rows:
        pairs = sum(flops.causal_pairs(read.length(index)) for index in range(len(read)))
    times = bool(loss.divergence) + bool(loss.mixed_divergence)
    for each in frozen.values():
        needed += times * flops.forward_flops(each.model, read.tokens, pairs, read.loss_tokens)
    return needed / rows.tokens


def _removal(config: Any) -> Removal | None:
    """What config.data.removal says; None if nothing is removed."""
    settings = dict(config.data.removal)
    return Removal(**settings, seed=config.seed) if settings.pop("role") else None


def _fed(data: batches.Batches, asked: int, budget: float) -> tuple[int, int, int]:
    """(steps, tokens, loss tokens): as many steps as are asked for, or as the budget pays for."""
    steps = tokens = losses = 0
    while steps < asked or (not asked and (steps == 0 or tokens < budget)):
        more, learned = data.fed(steps)
        steps, tokens, losses = steps + 1, tokens + more, losses + learned
    return steps, tokens, losses


def epoch_end(epoch: int, share: float) -> int:
    """The step after which so many epochs have ended; `share`: of an epoch, per step."""
    return max(1, round(epoch / share))


def _dev_batches(run, student, rows, limit, how) -> list[dict[str, Any]]:
    if not rows or not run.config.train.eval_every:
        return []
    source = batches.StudentRows(rows, student, limit, max_dropped_share=1.0)
    # Whole rows, not packed, because exact rows are counted one by one.
    dev_shape = batches.row_shape(source, 0, packed=False)
    size = run.config.train.batch_size
    return batches.dev_batches(source, dev_shape, size, **how)


def _length_key(train: Any) -> str:
    """The key of config.train that says how long to train; the later ones are not used then."""
    return next(key for key in ("steps", "epochs", "token_budget") if train[key])


def say_setup(run: Run, setup: StudentSetup, mesh: jax.sharding.Mesh, terminal: Terminal) -> None:
    """Say what will be trained."""
    facts, computation = setup.facts, setup.trainer.computation
    if not facts["steps"]:
        source = run.config.model[setup.student].init_from
        terminal.say(f"student {setup.student}: stays as it is, {source}")
        return
    dropped = f" ({facts['dropped_rows']} too long, dropped)" if facts["dropped_rows"] else ""
    adapter, trained = setup.trainer.adapter, ""
    if adapter is not None:
        count = facts["trained_parameters"]
        trained = f" ({count:,} of them trained, LoRA of rank {adapter.rank})"
    if isinstance(setup.data, RoundBatches):
        fed = round_setup.in_words(setup.data, facts["rounds"])
    else:
        fed = (
            f"{facts.get('pairs', facts['rows']):,} {'pairs' if setup.pairs else 'rows'}"
            f"{dropped}, {facts['steps']:,} steps of {run.config.train.batch_size} x "
            f"{facts['seq_len']} tokens ({facts['useful_share']:.0%} useful), "
            f"{facts['epochs']:.2f} epochs, as config.train.{_length_key(run.config.train)} says"
        )
    terminal.say(f"student {setup.student}: {facts['parameters']:,} parameters{trained}, {fed}")
    if len(facts["origins"]) > 1:
        parts = [
            f"{n['rows']:,} of {origin} ({n['row_tokens'] / max(1, n['rows']):.0f} tokens each, "
            f"{n['dropped_rows']:,} too long)"
            for origin, n in facts["origins"].items()
        ]
        terminal.say(f"student {setup.student}: rows: {', '.join(parts)}")
    axes = " x ".join(f"{name} {size}" for name, size in mesh.shape.items())
    processes = f", {jax.process_count()} processes" if jax.process_count() > 1 else ""
    warmup = run.config.optimizer[setup.student].warmup_steps
    if warmup > facts["steps"] / 2:
        terminal.say(
            f"student {setup.student}: warning: the learning rate rises during {warmup:,} steps, "
            f"more than half of {facts['steps']:,}: lower "
            f"config.optimizer.{setup.student}.warmup_steps"
        )
    terminal.say(
        f"student {setup.student}: {computation.dtype}, attention by {computation.kernel} "
        f"({setup.kernel_reason}), {axes} devices{processes}"
    )
