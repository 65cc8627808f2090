"""Rounds with TRL's GRPOTrainer, a process of benchmarks/rounds.py."""

import argparse
import json
import pathlib
import re
import statistics
import time


def main() -> None:
    """Train, and write the median time of a round and the mean length of an answer."""
    import datasets
    import torch
    import transformers
    import trl

    found = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "questions", "output", "dtype"):
        found.add_argument(f"--{name}", required=True)
    for name in ("problems", "samples", "max_tokens", "threads"):
        found.add_argument(f"--{name}", required=True, type=int)
    arguments = found.parse_args()
    torch.set_num_threads(arguments.threads)
    path = pathlib.Path(arguments.model) / "solver"
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=getattr(torch, arguments.dtype), attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0
    )
    questions = json.loads(pathlib.Path(arguments.questions).read_text(encoding="utf-8"))
    for each in questions:
        ids, each["prompt"] = each["prompt"], tokenizer.decode(each["prompt"])
        assert tokenizer(each["prompt"])["input_ids"] == ids, each
    lengths: list[int] = []
    ends: list[float] = []

    def reward(completions, answer, completion_ids, **_):
        lengths.extend(map(len, completion_ids))
        said = [re.search(r"#### (\S+)", text) for text in completions]
        return [float(s is not None and s[1] == a) for s, a in zip(said, answer, strict=True)]

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            ends.append(time.monotonic())

    answers = arguments.problems * arguments.samples
    config = trl.GRPOConfig(
        output_dir=str(pathlib.Path(arguments.output).with_suffix(".trl")),
        use_cpu=True,
        bf16=arguments.dtype == "bfloat16",
        per_device_train_batch_size=answers // 2,
        steps_per_generation=2,
        num_generations=arguments.samples,
        num_iterations=1,
        max_completion_length=arguments.max_tokens,
        temperature=1.0,
        top_k=0,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        loss_type="grpo",
        beta=0.0,
        shuffle_dataset=False,
        gradient_checkpointing=False,
        num_train_epochs=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    trl.GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config,
        train_dataset=datasets.Dataset.from_list(questions),
        processing_class=tokenizer,
        callbacks=[Clock()],
    ).train()
    rounds = [after - before for before, after in zip(ends[1::2], ends[3::2], strict=False)]
    pathlib.Path(arguments.output).write_text(
        json.dumps(
            {
                "seconds": float(f"{statistics.median(rounds[1:]):.4g}"),
                "tokens": float(f"{statistics.fmean(lengths[answers:]):.4g}"),
            }
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
