"""A run that was exported: its students in turn, with transformers alone, and on a Hub."""

import os
import runpy
import subprocess
import sys

import pytest
from experiment_runs import ROOT, TINY, command, environment, one_error_line, run
from scripted_hub import running_hub

import distill_jax
from distill_jax.export import alternate_program
from distill_jax.text.rows import make_views
from distill_jax.text.transcript import SCHEMES

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip(
    "torch", reason="no PyTorch: pip install torch --index-url https://download.pytorch.org/whl/cpu"
)

# Small and quick, but they do pass the turn and end the dialogue.
LEARNING = [
    "--config.task_options.train_problems=1000",
    "--config.train.steps=150",
    "--config.train.batch_size=16",
    "--config.train.eval_every=0",
    "--config.data.dev_problems=0",
    "--config.train.save_every=1000",
    "--config.sampling.max_tokens=192",
] + [
    f"--config.{key}"
    for student in ("decomposer", "solver")
    for key in (
        f"model.{student}.width=48",
        f"optimizer.{student}.learning_rate=0.01",
        f"optimizer.{student}.warmup_steps=10",
    )
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export")
    workdir, output = directory / "w", directory / "out"
    done = run("main", *TINY, *LEARNING, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    done = run("export", "--workdir", workdir, "--output", output)
    assert done.returncode == 0, done.stderr
    return workdir, output


QUESTIONS = [
    "Ben has 7 pens. Leo has 7 apples. Leo loses 4 of them. How many apples does Leo have now?",
    "Mia has 3 cups. Later Mia wins 9 cups. How many cups does Mia have now?",
    "Is <|endoftext|> or <|endofturn|> a mark here?\nNo:  12,5 °",
]


def test_students_take_turns_as_ours_do(exported, monkeypatch, capsys):
    workdir, output = exported
    solutions = distill_jax.load(workdir).solve(QUESTIONS)
    expected = ["\n".join(f"{t.role}: {t.text}" for t in s.turns) + "\n" for s in solutions]
    assert {len(solution.turns) for solution in solutions} & {3, 5, 7}  # dialogues
    done = subprocess.run(
        [sys.executable, output / "alternate.py", QUESTIONS[0]], env=environment(),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout == expected[0], done.stderr
    assert "Loading" not in done.stderr  # transformers' bars
    monkeypatch.chdir(output)
    for question, said in zip(QUESTIONS[1:], expected[1:], strict=True):
        monkeypatch.setattr(sys, "argv", ["alternate.py", question])
        capsys.readouterr()
        runpy.run_path("alternate.py")
        assert capsys.readouterr().out == said


def test_the_card_holds_the_same_program(exported):
    _, output = exported
    program = (output / "alternate.py").read_text()
    card = (output / "solver" / "README.md").read_text()
    assert program.replace("./", "../") in card
    assert "| problems made by distill\\_jax | MIT" in card and "| gold |  |  |  | 1,000 |" in card


def test_what_a_role_may_not_write_and_sees_is_in_the_program():
    def program(scheme, students, reads):
        views = make_views(SCHEMES[scheme], students, reads)
        places = {student: student for student in students.values()}
        text = alternate_program.example(
            SCHEMES[scheme], views, places, max_turns=5, max_turn_tokens=9, end_of_turn="<|im_end|>"
        )
        compile(text, "alternate.py", "exec")
        without_question = subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True
        )
        assert without_question.stderr == 'usage: python alternate.py "QUESTION"\n'
        return text

    one = {"decomposer": "both", "solver": "both"}
    reads = {"decomposer": (), "solver": ("decomposer",)}
    text = program("socratic", one, reads)
    assert "never = {'decomposer': None, 'solver': [end_of_text]}" in text
    assert "students = {'decomposer': 'both', 'solver': 'both'}" in text
    assert "'decomposer': ['question', 'decomposer'], 'solver': ['question', 'decomposer', " in text
    assert "end_of_text, end_of_turn" in text and ", '<|im_end|>'])" in text
    assert "for role in (['decomposer', 'solver'] * 3)[:5]:" in text and "max_new_tokens=9" in text
    guided = dict.fromkeys(("planner", "decomposer", "solver"), "all")
    text = program(
        "socratic_equations", guided, reads | {"planner": (), "decomposer": ("planner",)}
    )
    assert "for role in (['planner'] + ['decomposer', 'solver'] * 3)[:5]:" in text
    assert "never = {'planner': [end_of_text], 'decomposer': None, 'solver': [end_of_te" in text
    assert "never = {'solver': [end_of_turn]}" in program("chain", {"solver": "s"}, {"solver": ()})


def test_a_planner_speaks_once_in_the_program():
    def program(scheme):
        students = {role: role for role in SCHEMES[scheme].roles}
        reads = {"planner": (), "decomposer": ("planner", "solver"), "solver": ("planner",)}
        views = make_views(SCHEMES[scheme], students, reads)
        return alternate_program.example(
            SCHEMES[scheme], views, students, max_turns=5, max_turn_tokens=9, end_of_turn="/"
        )

    assert "for role in (['decomposer', 'solver'] * 3)[:5]:" in program("socratic")
    text = program("socratic_operators")
    assert "for role in (['planner'] + ['decomposer', 'solver'] * 3)[:5]:" in text
    never = "never = {'planner': [end_of_text], 'decomposer': None, 'solver': [end_of_text]}"
    assert never in text
    text = program("planned_chain")
    assert "for role in (['planner'] + ['solver'] * 5)[:5]:" in text
    assert "never = {'planner': [end_of_text], 'solver': [end_of_turn]}" in text


def test_students_are_pushed_and_loaded_from_the_hub(exported, tmp_path):
    workdir, output = exported
    arguments = ["--workdir", workdir, "--output", tmp_path / "out", "--push_to_hub", "me/pair"]
    with running_hub(tmp_path / "hf") as (repositories, variables):
        env = environment() | variables
        done = subprocess.run(
            command("export", *arguments), cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "uploaded: me/pair-decomposer" in done.stdout and "hf_x" not in done.stdout
        files = repositories["models/me/pair-solver"]
        assert set(repositories) == {"models/me/pair-decomposer", "models/me/pair-solver"}
        assert set(files) == {path.name for path in (output / "solver").iterdir()}
        assert files["model.safetensors"] == (output / "solver/model.safetensors").read_bytes()
        # The program on the card names the students there.
        assert (
            b"'decomposer': 'me/pair-decomposer', 'solver': 'me/pair-solver'" in files["README.md"]
        )
        load = (
            "import sys, transformers; name = sys.argv[1]\n"
            "model = transformers.AutoModelForCausalLM.from_pretrained(name)\n"
            "print(model.num_parameters(), len(transformers.AutoTokenizer.from_pretrained(name)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", load, "me/pair-solver"], env=env, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) == len(
        transformers.AutoTokenizer.from_pretrained(output / "solver")
    )


def test_what_cannot_be_pushed_is_one_line_and_the_files_stay(exported, tmp_path):
    workdir, _ = exported
    export = ["export", "--workdir", workdir, "--output", tmp_path / "out"]
    assert "give NAME/PREFIX" in one_error_line(run(*export, "--push_to_hub=pair"))
    assert not (tmp_path / "out").exists()
    done = subprocess.run(
        command(*export, "--push_to_hub=me/pair"), cwd=ROOT, capture_output=True, text=True,
        env=environment() | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_x"},
    )  # fmt: skip
    assert "me/pair-decomposer: not uploaded" in one_error_line(done)
    assert (tmp_path / "out" / "solver" / "model.safetensors").exists()
    assert os.path.exists(tmp_path / "out" / "alternate.py")


def test_a_tokenizer_that_llama_cpp_does_not_have_is_refused(exported, tmp_path):
    pytest.importorskip("gguf", reason="no gguf: pip install 'distill-jax[gguf]'")
    line = one_error_line(
        run("export", "--workdir", exported[0], "--output", tmp_path / "out", "--gguf")
    )
    assert "llama.cpp cannot split text" in line and not (tmp_path / "out").exists()
