"""Every key once, with its meaning. Other configs start from here and change what differs.

The values train a small student on the built-in task; `configs/demo.py` is the one to run first.
"""

from ml_collections import ConfigDict


def model_size() -> ConfigDict:
    """The shape of one student; the vocabulary comes from the tokenizer."""
    return ConfigDict(
        {
            "layers": 4,
            "heads": 4,
            "width": 128,  # of the residual stream; a multiple of heads
            "context": 256,  # learned positions: the most tokens of a question and its dialogue
        }
    )


def optimizer() -> ConfigDict:
    """AdamW with linear warm-up and cosine decay for one student."""
    return ConfigDict(
        {
            "learning_rate": 1e-3,  # at the end of the warm-up
            "final_learning_rate": 0.0,  # at the last step
            "warmup_steps": 100,
            "b1": 0.9,
            "b2": 0.98,
            "epsilon": 1e-8,
            "weight_decay": 0.1,  # of kernels and embeddings, not of biases and LayerNorms
            "clip_norm": 1.0,  # the gradient is scaled down to this norm; 0 = never
        }
    )


def get_config() -> ConfigDict:
    """The base config."""
    config = ConfigDict()

    # The task: a module with load, load_annotations and grade (see tasks/arithmetic.py), yours too.
    config.task = "distill_jax.tasks.arithmetic"
    # Keyword arguments of its load() and load_annotations().
    config.task_options = ConfigDict(
        {
            "difficulty": "easy",  # easy, medium, hard
            "seed": 0,
            "train_problems": 50_000,
            "dev_problems": 500,
            "test_problems": 1_000,
        }
    )

    # Decides initialisation, data order and sampling.
    config.seed = 0

    # answer_only: the solver writes the answer. chain: the solver writes all steps.
    # socratic: decomposer and solver take turns.
    config.scheme = "socratic"
    # Which student plays a role. Give two roles one student for the unified strategy.
    config.students = ConfigDict({"decomposer": "decomposer", "solver": "solver"})
    # Whose turns a role sees besides the question and its own. () = only those.
    config.reads = ConfigDict({"decomposer": ("solver",), "solver": ("decomposer",)})

    config.tokenizer = ConfigDict(
        {
            "name": "",  # directory or Hub id, e.g. openai-community/gpt2; "" = train a BPE
            "vocab_size": 1024,  # at most, of the trained BPE
        }
    )
    config.data = ConfigDict(
        {
            "train_split": "train",
            "train_problems": 0,  # use the first N; 0 = all
            "seq_len": 0,  # tokens of a training row; 0 = the longest row, rounded up to 8
        }
    )

    # One section per student.
    config.model = ConfigDict({"decomposer": model_size(), "solver": model_size()})
    config.optimizer = ConfigDict({"decomposer": optimizer(), "solver": optimizer()})

    config.train = ConfigDict(
        {
            "steps": 0,  # per student; 0 = as many as token_budget pays for
            "token_budget": 5_000_000,  # non-padding tokens fed, summed over the students
            "batch_size": 16,  # rows per step over all devices
            "log_every": 20,  # steps
            "save_every": 200,  # steps; interruption and the end save too
            "keep": 2,  # newest checkpoints kept per student
            "students": (),  # train only these now, e.g. on another machine; () = all
        }
    )
    # Devices per axis; -1 = all that are left.
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})

    config.sampling = ConfigDict(
        {
            "temperature": 0.0,  # 0 = greedy
            "max_turns": 16,  # of all roles together
            "max_turn_tokens": 64,
            "max_tokens": 192,  # of a whole dialogue
            "batch_size": 100,  # dialogues at a time
        }
    )
    config.evaluation = ConfigDict(
        {
            "split": "test",
            "problems": 200,  # use the first N; 0 = all
            "max_too_long_share": 0.05,  # of questions over the context (counted as wrong)
        }
    )
    return config.lock()  # a misspelt key in a config file is an error
