"""The common part of the configs of the papers' tables: pretrained GPT-2 students on three data
sets.

Another size: --config.model.STUDENT.init_from=openai-community/gpt2-medium (or gpt2-large), for
each student. The papers' teachers are no longer available; TEACHER is asked instead, unless
--config.teacher.model names another one. To learn from files instead, give
--config.data.annotations=FILE --config.teacher.model= (docs/annotating.md).
"""

from ml_collections import ConfigDict

from distill_jax.configs.fine_tune_cot_svamp import get_config as fine_tune_cot_config
from distill_jax.configs.gsm8k_gpt2 import get_config as gsm8k_config

TEACHER = "gpt-4o-mini"


def gsm8k() -> ConfigDict:
    """GSM8K, 7,473 training and 1,319 test problems."""
    config = gsm8k_config()
    config.evaluation.problems = 0
    config.data.false_equations = "count"  # the papers trained on such rows too
    return config


def svamp() -> ConfigDict:
    """SVAMP, the split of Ho et al.: 700 training and 300 test problems."""
    config = gsm8k()
    config.task = "distill_jax.tasks.svamp"
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "ChilleD/SVAMP", "protocol": "ho", "renumbered": 0}
    )
    config.data.dev_problems = 70
    config.train.steps = 100  # 20 epochs and more
    config.train.eval_every = 20
    return config


def strategyqa(gold: str = "facts") -> ConfigDict:
    """StrategyQA, the split of Ho et al.: 1,602 training and 687 test questions."""
    config = gsm8k()
    config.task = "distill_jax.tasks.strategyqa"
    config.task_options = ConfigDict(
        {"directory": "", "hub_id": "tasksource/strategy-qa", "protocol": "ho", "gold": gold}
    )
    config.data.dev_problems = 160
    config.train.steps = 200  # 20 epochs and more
    config.train.eval_every = 40
    return config


def teach(config: ConfigDict, prompt: str) -> ConfigDict:
    """The same with a teacher's annotations, by this prompt."""
    config.teacher.model = TEACHER
    config.teacher.prompt = prompt
    return config


def one_student(config: ConfigDict) -> ConfigDict:
    """The unified strategy: one student asks and answers."""
    config.students.decomposer = "solver"
    return config


def fine_tune_cot(config: ConfigDict) -> ConfigDict:
    """The protocol of Ho et al. on another data set: see configs/fine_tune_cot_svamp.py."""
    svamp_config = fine_tune_cot_config()
    svamp_config.task = config.task
    svamp_config.task_options = config.task_options
    return svamp_config
