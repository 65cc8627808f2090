"""What students were before their run, and what of an evaluation they may know from there."""

import json

import pytest

from distill_jax.annotations import leaks
from distill_jax.evaluation import combined_evaluation, summary
from distill_jax.records import Annotation, Step, to_json
from distill_jax.run import origins
from distill_jax.run.origins import Origins
from distill_jax.settings import command_line
from distill_jax.workdir import Workdir

SMOLLM2 = "SmolLM2.gguf (dequantised from Q4_1)"


def write_run(path, questions, init_from="", **loss):
    """A run with one student, as far as it is looked at; returns where the student is."""
    config = command_line.load_config("configs/demo.py")
    config.scheme, config.model.solver.init_from = "chain", init_from
    config.loss.update(loss)
    workdir = Workdir(path)
    workdir.write_config(config.to_dict(), {})
    rows = (
        Annotation(f"t/{n}", question, "1", (Step(None, "1"),), {"kind": "gold"})
        for n, question in enumerate(questions)
    )
    workdir.annotations.write_text("".join(to_json(row) + "\n" for row in rows))
    workdir.dev_annotations.write_text("")
    facts = {"solver": {origins.BEGAN_AS: SMOLLM2} if init_from.endswith(".gguf") else {}}
    workdir.training_data.write_text(json.dumps(facts))
    return f"{path}/checkpoints/solver"


def origins_of(student):
    """Of a run whose solver begins as `student`."""
    found, config = Origins(), {"model": {"solver": {"init_from": student}}}
    origins.add(found, config, {"solver": {}})
    return found


def test_questions_that_earlier_students_learned_are_named(tmp_path):
    first = write_run(tmp_path / "first", ["How many pens has Ann?"], "models/SmolLM2.gguf")
    write_run(tmp_path / "teacher", ["What is 5 + 3?"])
    taught = {"divergence": 1.0, "teacher": str(tmp_path / "teacher")}
    second = write_run(tmp_path / "second", ["Why?"], first, **taught)
    found = origins_of(f"{second}/40")
    assert found.runs == [str(tmp_path / name) for name in ("second", "first", "teacher")]
    assert (found.published, found.missing) == ([SMOLLM2], [])
    asked = ["What is 7 + 9?", "how many pens has  Ann?", "Who?"]
    known = leaks.trained_on(asked, found.learned(), templated=False)
    assert known == {
        asked[0]: f"t/0 in {tmp_path / 'teacher'} (other numbers)",
        asked[1]: f"t/0 in {tmp_path / 'first'}",
    }


def test_the_weights_of_a_published_teacher_are_not_those_of_its_student(tmp_path):
    taught = {"divergence": 1.0, "teacher": "Qwen/Qwen2.5-0.5B"}
    student = write_run(tmp_path / "w", ["Q?"], "models/SmolLM2.gguf", **taught)
    assert origins_of(student).published == [SMOLLM2, "Qwen/Qwen2.5-0.5B"]


def test_a_teacher_that_is_switched_off_is_none(tmp_path):
    write_run(tmp_path / "teacher", ["Q?"])
    student = write_run(tmp_path / "w", ["P?"], teacher=str(tmp_path / "teacher"))
    assert origins_of(student).runs == [str(tmp_path / "w")]


@pytest.mark.parametrize("damage", ["training_data", "config", "annotations"])
def test_a_run_that_is_not_at_hand_is_said(damage, tmp_path):
    student = write_run(tmp_path / "gone", ["Q?"])
    getattr(Workdir(tmp_path / "gone"), damage).unlink()
    found = origins_of(student)
    assert (found.runs, found.missing) == ([], [str(tmp_path / "gone")])
    [line] = summary.origin_lines({"origins": found.to_json()})
    assert line.startswith(f"students began as those of {tmp_path / 'gone'}, which is not at hand")


def test_published_weights_are_said_of_every_result(tmp_path):
    found = origins_of("HuggingFaceTB/SmolLM2-135M")
    assert found.to_json() == {"published": ["HuggingFaceTB/SmolLM2-135M"]}
    assert summary.origin_lines({"origins": found.to_json()}) == [
        "students began as HuggingFaceTB/SmolLM2-135M: overlap of its training data with these "
        "tests is unknown"
    ]
    assert origins_of("").to_json() == {} and summary.origin_lines({}) == []
    both = [{"origins": found.to_json()}, {}, {"origins": {"published": ["gpt2"], "runs": ["r"]}}]
    assert combined_evaluation._origins(both) == {
        "published": ["HuggingFaceTB/SmolLM2-135M", "gpt2"], "runs": ["r"],
    }  # fmt: skip
