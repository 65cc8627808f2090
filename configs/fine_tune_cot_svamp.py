"""Fine-tune-CoT's protocol (Ho et al. 2022, https://arxiv.org/abs/2212.10071): GPT-2 on SVAMP.

Format, split (700/300), optimizer, 20 epochs of batches of 8 and greedy answers are those of
https://github.com/itsnamgyu/reasoning-teacher (custom_train.py, src/custom). The last epoch is the
result. The paper reports the best of the 20 epochs on the test set: those scores are kept
separately, in parity_test_selection.json, and `report` shows them in a separate table.

The paper uses the right chains of text-davinci-002. Give the authors' file with
--config.data.annotations=FILE (its "Fine-tune-CoT" format is recognised), or another teacher's.
Without it the chains are SVAMP's equations, and numbers are not comparable with the paper's. For
its "fine-tune" rows add --config.scheme=answer_only. To choose a checkpoint on dev, which costs a
tenth of the training problems, add --config.data.dev_problems=70 and evaluate with
--config.evaluation.checkpoint=best too.

Differences from the authors' code: rows are padded on the right, with positions from 0; weight
decay is 0.01 for kernels and embeddings, there also for biases and LayerNorms; answers may fill a
context of 1,024 tokens in every epoch, there 256 in the first two.

Usage: python -m distill_jax.main --config configs/fine_tune_cot_svamp.py \\
           --workdir runs/fine_tune_cot_svamp --config.data.annotations=FILE
"""

from ml_collections import ConfigDict

from distill_jax.configs.base import get_config as base_config

GPT2 = "openai-community/gpt2"  # or gpt2-medium, gpt2-large; or a directory, with its tokenizer


def get_config():
    """The config."""
    config = base_config()
    config.task = "distill_jax.tasks.svamp"
    # directory: with SVAMP.json; "" = the Hub data set hub_id.
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "ChilleD/SVAMP", "protocol": "ho", "renumbered": 0}
    )
    config.scheme = "chain"
    config.text_format = "fine_tune_cot"
    config.tokenizer.name = GPT2
    config.model.solver.init_from = GPT2  # brings the size: a context of 1,024
    for name in ("embedding_dropout", "attention_dropout", "residual_dropout"):
        config.model.solver[name] = 0.1  # the default of transformers for GPT-2
    # torch.optim.AdamW(lr=3e-4) and nothing else: constant, no warm-up, no clipping.
    config.optimizer.solver.learning_rate = 3e-4
    config.optimizer.solver.final_learning_rate = 3e-4
    config.optimizer.solver.warmup_steps = 0
    config.optimizer.solver.b2 = 0.999
    config.optimizer.solver.weight_decay = 0.01
    config.optimizer.solver.clip_norm = 0.0
    config.data.dev_problems = 0  # all 700 are trained on
    config.data.templated = False
    config.train.epochs = 20
    config.train.batch_size = 8
    config.train.eval_every = 87  # about an epoch, if there is a dev split
    config.train.keep = 1  # a checkpoint has 1.5 GB
    config.train.parity_test_selection = True
    config.sampling.max_turn_tokens = 1024  # with the question: the context
    config.sampling.max_tokens = 1024
    config.evaluation.problems = 0  # all 300
    return config
