"""New students learn from an exported `chain` student that an OpenAI-compatible server serves.

The teacher solves new problems of the built-in task (with another seed than the demo's), and the
students learn its right solutions. `launch/student_as_teacher.sh` does everything: teacher, export,
server, annotations, students, report.

Usage: python -m distill_jax.main --config configs/student_teacher.py --workdir runs/student \\
           --yes --config.teacher.model=DIR/solver \\
           --config.teacher.base_url=http://127.0.0.1:8000/v1
"""

from distill_jax.configs.demo import get_config as demo_config


def get_config():
    """The config."""
    config = demo_config()
    config.scheme = "chain"
    config.task_options.seed = 1
    config.task_options.train_problems = 2_000
    config.data.dev_split = ""  # held out of the teacher's right solutions
    config.teacher.prompt = "student"
    config.teacher.max_tokens = 96  # with the question they must fit the student's context
    config.teacher.concurrency = 8
    config.train.token_budget = 2_000_000
    return config
