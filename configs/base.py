"""Every key with its meaning. Other configs start from here and change some of them.

The values train a small student on the built-in task; `configs/demo.py` is the one to run first.
"""

from ml_collections import ConfigDict


def model_size() -> ConfigDict:
    """The shape of one student; the vocabulary comes from the tokenizer."""
    return ConfigDict(
        {
            # Parameters to start from; they also decide the size. A Hub id such as
            # openai-community/gpt2 or HuggingFaceTB/SmolLM2-135M, a directory in Hugging Face
            # format (GPT-2, Llama, SmolLM2, Mistral, Qwen 2, 2.5, 3), a file FILE.gguf of one of
            # the Llama family, or a student of another run, RUN/checkpoints/STUDENT[/STEP].
            # "" = random ones. Their tokenizer is used, unless tokenizer.name names another one.
            "init_from": "",
            # A published size with random parameters: gpt2, gpt2-medium, gpt2-large, gpt2-xl,
            # distilgpt2, smollm2-135m, qwen2.5-0.5b, qwen3-0.6b, llama-3.2-1b; "" = the family and
            # the four numbers below.
            "preset": "",
            "family": "gpt2",  # learned positions; llama: rotary positions, a gated MLP, RMSNorm
            "layers": 4,
            "heads": 4,
            "width": 128,  # of the residual stream; a multiple of heads
            "context": 256,  # the most tokens of a question and its dialogue
            "embedding_dropout": 0.0,
            "attention_dropout": 0.0,
            "residual_dropout": 0.0,
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


def adapter() -> ConfigDict:
    """LoRA of one student: its base, which config.model names, is frozen (model/lora.py)."""
    return ConfigDict(
        {
            "rank": 0,  # 0 = off: every parameter is trained
            "alpha": 16.0,  # the product of the two matrices is scaled by alpha / rank
            # Modules by the last part of their name, such as ("q_proj", "v_proj"); () = all
            # matrices of the blocks.
            "targets": (),
            "base_dtype": "float32",  # in which the base is held: float32, bfloat16
            "init_from": "",  # a directory in PEFT's format to begin with
        }
    )


def get_config() -> ConfigDict:
    """The base config."""
    config = ConfigDict()

    # The task: a module with load and grade, also your own (see docs/adding_a_task.md).
    config.task = "distill_jax.tasks.arithmetic"
    # Keyword arguments of its load().
    config.task_options = ConfigDict(
        {
            "difficulty": "easy",  # easiest, easy, medium, hard
            "seed": 0,
            "train_problems": 50_000,
            "dev_problems": 500,
            "test_problems": 1_000,
            "style": "short",  # of gold solutions: short (equations), long (sentences)
        }
    )

    # Decides initialisation, data order, sampling, and which problem is from which file of
    # data.mixture.
    config.seed = 0

    # answer_only: the solver writes the answer. chain: the solver writes all steps.
    # socratic: decomposer and solver take turns. socratic_equations, socratic_operators: first a
    # planner says once which equations or operators will be needed. planned_chain: a planner says
    # how many operators a step has, then the solver writes all steps (docs/chain_length.md).
    config.scheme = "socratic"
    # How question and answer are written, text/formats.py. turns: our own format. fine_tune_cot:
    # that of Ho et al., "question ###", " reasoning --> answer", for answer_only and chain. sert:
    # that of self-enhanced reasoning training, "Question: ... Answer:", " ... So the answer is
    # 72."; sert_teacher: the same after "Let's think step by step." chatml: the chats of SmolLM2
    # and Qwen, where every turn is a message (text/messages.py).
    config.text_format = "turns"
    # Which student plays a role. Give two roles one student for the unified strategy.
    config.students = ConfigDict(
        {"planner": "planner", "decomposer": "decomposer", "solver": "solver"}
    )
    # Whose turns a role sees besides the question and its own. () = only those.
    config.reads = ConfigDict(
        {"planner": (), "decomposer": ("planner", "solver"), "solver": ("decomposer",)}
    )

    config.tokenizer = ConfigDict(
        {
            # Directory, FILE.gguf or Hub id, e.g. openai-community/gpt2; "" = the tokenizer that
            # comes with a model's init_from, or else a BPE that is trained.
            "name": "",
            "vocab_size": 1024,  # at most, of the trained BPE, which sees 100,000 rows at most
            # Special tokens that end a turn and a text. "" = those that the tokenizer has
            # (<|im_end|> and <|endoftext|> of SmolLM2 and Qwen, <|eot_id|> and <|end_of_text|> of
            # Llama 3), or else <|endofturn|> and <|endoftext|>; missing ones are added, untrained.
            "end_of_turn": "",
            "end_of_text": "",
        }
    )
    config.data = ConfigDict(
        {
            "train_split": "train",
            "train_problems": 0,  # use the first N; 0 = all
            # Or use this share of the problems that are not dev problems. A hash of the question
            # chooses them, so a smaller share is part of a larger one. A teacher annotates all.
            "train_share": 1.0,
            # Or only one of so many folds, by a hash of the question: 1/2 is what 2/2 leaves.
            "fold": "",
            # The dev split is for dev loss, best checkpoint, early stopping. Never the test split.
            "dev_split": "",  # one of the task's; "" = training problems that a hash holds out
            # None of its questions is trained on, whatever is evaluated; skipped if the task has no
            # such split. "" = only those of evaluation.split are looked for.
            "test_split": "test",
            # At most; held out are at most a tenth, or those that train_problems leaves. 0 = none
            "dev_problems": 100,
            "packing": False,  # several problems in one row, which do not see each other
            # Tokens of a row; 0 = the longest row rounded up to 8 (packed: the context).
            "seq_len": 0,
            "max_dropped_share": 0.01,  # of rows longer than context or seq_len: more is an error
            # Files of annotations instead of the task's own: of another run or a hub:NAME/DATA_SET,
            # or of other formats (annotations/importers.py). () = the task's, or the teacher's.
            "annotations": (),
            # answer_only learns problems whose steps are not known, too. True = only those that the
            # other schemes learn: with steps that pass the checks.
            "annotated_only": False,
            # Mix Distillation: the share of the problems that is learned from each of these files,
            # such as (0.2, 0.8) for LONG,SHORT. A problem is learned from one file, which the seed
            # decides (a larger share only adds problems); those that some file lacks are left out,
            # so that all mixtures of the files have the same problems and as many rows.
            # () = all annotations of all files.
            "mixture": (),
            "annotations_per_problem": 0,  # at most, the first that differ; 0 = all
            # An annotation is a near duplicate of an earlier one of the same problem if they share
            # this share of their runs of `near_words` words; above 1 = only copies are dropped.
            "near": 0.8,
            "near_words": 2,
            # True = questions are made from templates: only the same questions as in the evaluation
            # are dropped, not those with other numbers, and overlaps are not looked for.
            "templated": True,
            # Annotations in which exact arithmetic refutes an equation that is written in the text,
            # such as 2*2*3 = 8*4: reject, or count (train on them and say how many there are).
            # A false calculator mark <<48/2=25>> is always a reason to reject.
            "false_equations": "reject",
            # Remove the words of a role from its turns while students train, from the left, until
            # none are left; its end marks stay (training/removal.py).
            "removal": ConfigDict(
                {
                    "role": "",  # decomposer, planner, or solver (whose answer stays); "" = off
                    "per_epoch": 8.0,  # tokens by which more are removed; 0 = always `start`
                    "all_beyond": 0,  # where so many are removed, all are; 0 = never at once
                    "smoothing": 4.0,  # a row lacks o more with probability ~ e^(-o x this); 0 = no
                    "start": 0,  # tokens that are removed from the first step on
                    "reset_optimizer": True,  # AdamW forgets its moments when more are removed
                }
            ),
            # False = of an answer with a letter, (B) white ball, students learn the text alone:
            # white ball. Both are right in the evaluation. For questions with choices only.
            "choice_letters": True,
            # Drop training questions if runs of 8 or more words, shared with one evaluation
            # question, cover a larger share of them; 1 = drop none (all are listed).
            "max_overlap": 1.0,
        }
    )

    # Which answers of students in data.annotations (predictions.jsonl of an evaluation of the
    # training problems) are trained on. Only those that are right and finished, in any case; the
    # others of the file and every other file stay as they are. Checked in this order.
    config.harvest = ConfigDict(
        {
            "unwanted": (),  # regular expressions, none of which may occur: ("Question:",)
            "least_tokens": 0,  # written, end marks included
            "most_tokens": 0,  # 0 = any
            "most_repetition": 1.0,  # share of word pairs that occurred before in the answer
            # Perplexity of the answer for the student that wrote it.
            "least_perplexity": 0.0,
            "most_perplexity": 0.0,  # 0 = any
            # Of those of a problem: all; different (one for each list of equations, those that
            # differ most); least_repetition (one), shortest (one).
            "keep": "all",
        }
    )

    # What becomes of training problems that a teacher student finds hard (annotations/easy.py).
    config.easy = ConfigDict(
        {
            # predictions.jsonl of its evaluation of the training problems; () = all are learned.
            "files": (),
            # Easy is what most samples answer, if it is right, and if their share is larger than
            # that of the next answer by this much.
            "margin": 0.0,
            # Others: drop, abstain (learn the answer "?"), uniform (learn that every token is as
            # likely as any other one).
            "hard": "drop",
        }
    )

    # Pairs of a right and a wrong answer to a training problem, for loss.preference
    # (docs/objectives.md).
    config.preferences = ConfigDict(
        {
            # predictions.jsonl of evaluations of the training problems. What data.annotations has
            # for a problem counts as right, too.
            "files": (),
            "per_problem": 3,  # pairs at most, of the answers that are least alike
            # An answer is left out if it shares this share of its tokens with another one of the
            # problem that is right, or wrong, as well.
            "near": 0.7,
        }
    )

    # A large model that annotates the training problems (docs/annotating.md). Its key is read from
    # OPENAI_API_KEY.
    config.teacher = ConfigDict(
        {
            "model": "",  # its name at the server; "" = no teacher
            "base_url": "",  # such as http://localhost:8000/v1; "" = OPENAI_BASE_URL, or OpenAI
            "api": "chat",  # chat, completions
            # socratic, socratic_zero, cot, zero_shot_cot, short, long, student, or your own file.
            "prompt": "socratic",
            "samples": 1,  # per problem; each is a separate request
            # -1 = left out of the request, as reasoning models need: the server uses its own value.
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 1024,  # of an answer; longer ones are not used
            "max_tokens_name": "max_tokens",  # OpenAI's newer models: max_completion_tokens
            # What to do with the thoughts of a reasoning model, also in files of data.annotations:
            # drop (learn the text after them), steps (they are the chain; scheme=chain).
            "reasoning": "drop",
            "extra": "",  # a JSON object added to requests, such as {"reasoning_effort": "low"}
            "concurrency": 16,  # requests at a time
            "requests_per_minute": 0,  # 0 = no limit
            "tokens_per_minute": 0,  # prompts and answers
            "timeout_s": 120.0,  # of one request; a slow local model may need more
            "retries": 5,  # of one request: server busy or failing, answer missing or garbled
            "price_input": 0.0,  # per million tokens, in any currency
            "price_output": 0.0,
            "cache_dir": "~/.cache/distill_jax/teacher",  # all answers, shared by runs
        }
    )

    # One section per student.
    students = ("planner", "decomposer", "solver")
    config.model = ConfigDict({student: model_size() for student in students})
    config.optimizer = ConfigDict({student: optimizer() for student in students})
    config.lora = ConfigDict({student: adapter() for student in students})

    # What training makes smaller: a sum of terms with these weights; 0 = without the term.
    config.loss = ConfigDict(
        {
            "likelihood": 1.0,  # cross entropy with the rows
            # Divergence between the next-token probabilities of a frozen student and the student's
            # own, at the same tokens (docs/objectives.md).
            "divergence": 0.0,
            # The frozen student: the directory of a finished run, whose students teach those of the
            # same name, or what model.init_from takes. It has the same tokenizer.
            "teacher": "",
            # Roles whose turns the teacher sees besides what its student sees, such as
            # ("decomposer",): it knows the gold subquestions, and the student learns to do without.
            "teacher_reads": (),
            # 0 = KL(teacher || student), 1 = KL(student || teacher), between: Jensen-Shannon.
            "beta": 0.0,
            "temperature": 1.0,  # both students' logits are divided by it
            # The clipped policy loss of own samples, a mean over samples (docs/rewards.md).
            "policy": 0.0,
            "clip": 0.2,  # probabilities may change to 1 - clip .. 1 + clip of what they were
            "uniform": 1.0,  # of the divergence from uniform for problems with easy.hard=uniform
            # Mixtures of two rows (training/mixup.py), whose shares are drawn from Beta(a, a); 0 =
            # none. Likelihood of the tokens of both rows, and divergence from the teacher.
            "mixup": 0.0,
            "mixed_likelihood": 0.0,
            "mixed_divergence": 0.0,
            # Direct preference optimisation: the training rows are the pairs of config.preferences,
            # and likelihood is that of the better texts. Students start from model.init_from.
            "preference": 0.0,
            "preference_beta": 0.1,  # the higher, the closer students stay to where they start
        }
    )

    # Learning from own samples: students answer training problems, learn from what they wrote, and
    # answer again (docs/rewards.md). They begin as model.STUDENT.init_from; steps are rounds x
    # updates, and the token budget does not count.
    config.rollouts = ConfigDict(
        {
            "rounds": 0,  # 0 = off
            "updates": 2,  # steps of a round
            "problems": 32,  # of a round
            "samples": 8,  # of each problem
            # Of the train.batch_size rows of a step; the others are annotations.
            "share": 1.0,
            # Who learns; the others stay as they are. () = all, one after another, each with the
            # others as they are by then.
            "students": (),
            # What a sample is worth: a module with reward(), also your own (docs/rewards.md).
            "reward": "distill_jax.rewards.correct",
            "reward_options": (),  # KEY=VALUE of reward(), such as ("alpha=0.1",)
            "advantage": "rloo",  # over the other samples of the problem: rloo, grpo
            "whiten": True,  # advantages get mean 0 and deviation 1 over the tokens of a round
            # What a nat away from the student at the beginning costs, in rewards.
            "reference_kl": 0.0,
            # As in config.sampling, for the samples of rounds.
            "temperature": 1.0,
            "max_turns": 16,
            "max_turn_tokens": 64,
            "max_tokens": 192,
            "calculator": False,
        }
    )

    config.train = ConfigDict(
        {
            "steps": 0,  # per student; 0 = as many as epochs, or else token_budget, give
            "epochs": 0,  # per student, if steps is 0; 0 = as many as token_budget gives
            "token_budget": 5_000_000,  # non-padding tokens read, summed over the students
            "batch_size": 16,  # rows per step over all devices
            "accumulation": 1,  # micro-batches per step; more need less memory
            "dtype": "float32",  # of activations: float32, bfloat16 (GPU, TPU)
            "remat": False,  # True = compute blocks again in the backward pass; needs less memory
            "attention": "auto",  # kernel: auto, xla, cudnn, triton, splash (model/attention.py)
            "loss_chunk": 1024,  # loss tokens per device whose logits exist at a time
            "log_every": 20,  # steps
            "eval_every": 200,  # steps between measurements on dev
            # The dev value that decides on the best checkpoint: loss; exact (rows in which every
            # learned token is the most likely one); accuracy (of dev_dialogues); preference (its
            # loss on pairs of dev problems, with loss.preference).
            "best_by": "loss",
            # Dev problems that are answered by whole dialogues at every measurement, if the other
            # students are already trained; 0 = none.
            "dev_dialogues": 0,
            # Answer the whole test split after every epoch, only to compare with papers that chose
            # their epoch by it: parity_test_selection.json. Nothing else uses these scores.
            "parity_test_selection": False,
            "patience": 0,  # stop after N measurements without a better one; 0 = never
            "save_every": 200,  # steps; saved too: interruption, the end, a new best
            "keep": 2,  # newest checkpoints per student, besides the best
            "students": (),  # train only these now, e.g. on another machine; () = all
            # Steps of every student that jax.profiler traces into WORKDIR/profile; 0 = none.
            "profile_first": 0,
            "profile_last": 0,
        }
    )
    # Local or gs://BUCKET/DIR; "" = WORKDIR/checkpoints. ~ is the home directory, as anywhere.
    config.checkpoint_dir = ""
    # wandb, trackio; besides metrics.jsonl, and TensorBoard if tensorboardX is installed.
    config.tracking = ()
    # Devices per axis; -1 = all that are left.
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    # Several processes: each runs the same command with its own number.
    config.distributed = ConfigDict(
        {
            "processes": 1,  # 0 = from the environment (TPU pod, Slurm, Open MPI, Kubernetes)
            "process": 0,
            "coordinator": "",  # HOST:PORT of process 0
            "initialization_timeout_s": 300,
            "heartbeat_timeout_s": 100,  # if a process dies, the others are aborted after this time
        }
    )

    config.sampling = ConfigDict(
        {
            "temperature": 0.0,  # 0 = greedy, else from 1e-6 to 1e6
            "top_k": 0,  # draw from the k most likely tokens; 0 = all
            "top_p": 1.0,  # draw from the fewest tokens that together have p; 1 = all
            "samples": 1,  # dialogues per problem, which vote
            "seed": 0,  # for drawing, with config.seed; another one draws other samples
            "max_turns": 16,  # of all roles together
            "max_turn_tokens": 64,  # that a role itself writes in a turn
            "max_tokens": 192,  # of a whole dialogue
            "slots": 0,  # dialogues at a time; 0 = as many as are useful and fit
            # Of activations and caches: float32, bfloat16 (GPU, TPU; on a CPU only with AMX, and
            # caches stay float32 there). docs/speed.md
            "dtype": "float32",
            # Kernel that reads the caches: xla, triton (bfloat16 on NVIDIA; reads only the filled
            # part, not measured yet). model/cache_attention.py
            "attention": "xla",
            "calculator": False,  # True = fill in the value if the solver writes <<48/2=
            # Turns that are given instead of written: plan (gold instead of the planner's),
            # subquestions (gold instead of the decomposer's), shuffled (these in another order,
            # drawn from the seeds and the problem), nothing (the decomposer writes nothing until
            # the solver writes ####), history (each step separately, after the gold steps before
            # it; the solver's solution is graded); "" = nothing is given.
            "given": "",
            "given_steps": 0,  # how many "subquestions" are given; 0 = all
            # Whose answer counts of several samples: majority, or length (the majority among the
            # lengths, in steps, whose answers agree most; docs/chain_length.md).
            "vote": "majority",
            "vote_width": 2,  # of vote=length: lengths that are taken together
            "vote_buckets": 3,  # of vote=length: how many such groups of lengths count
        }
    )
    config.evaluation = ConfigDict(
        {
            "task": "",  # a task other than the run's; "" = config.task with its options
            # Of that task, or to replace the run's: --config.evaluation.task_options.KEY=VALUE
            "task_options": (),
            "split": "test",
            "checkpoint": "last",  # last, best on dev, a step, or solver=400,decomposer=200
            "problems": 200,  # use the first N, in the order of the task; 0 = all
            # Students of other runs, RUN,RUN, that write every token together with the run's own:
            # of the same scheme, reads and tokenizer. () = the run's own alone.
            "ensemble": (),
            # Of the probabilities of all: arithmetic, or geometric (of their logarithms, then
            # renormalised).
            "ensemble_mean": "arithmetic",
            "max_too_long_share": 0.05,  # of questions over the context (counted as wrong)
        }
    )
    return config.lock()  # a misspelt key in a config file is an error
