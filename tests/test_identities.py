"""The identity of every shipped config: a run of today is the same run tomorrow."""

import hashlib
import json
import pathlib

import pytest

from distill_jax.run.run import make_run
from distill_jax.settings import command_line
from distill_jax.settings.identity import identity_of
from distill_jax.text.rows import make_views
from distill_jax.text.transcript import SCHEMES
from distill_jax.workdir import Workdir

IDENTITIES = json.loads(
    (pathlib.Path(__file__).parent / "fixtures" / "identities.json").read_text(encoding="utf-8")
)
SHIPPED = sorted(
    str(path.relative_to(command_line.PACKAGED_CONFIGS.parent))
    for folder in (".", "paper")
    for path in (command_line.PACKAGED_CONFIGS / folder).glob("[a-z]*.py")
    if path.name != "pretrained.py"
)


def digest(name):
    config = command_line.load_config(name)
    scheme = SCHEMES[config.scheme]
    students = {view.student for view in make_views(scheme, config.students, config.reads)}
    text = json.dumps(identity_of(config, students, scheme.roles), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_new_key_that_is_off_changes_no_identity(name):
    """Where a key's value really changes, its line in fixtures/identities.json does too."""
    assert IDENTITIES[name] == digest(name)


def test_there_is_a_line_for_every_config():
    assert set(IDENTITIES) == set(SHIPPED)


def test_what_is_off_is_absent():
    config = command_line.load_config("configs/demo.py")
    identity = make_run(config, Workdir("nowhere")).identity()
    assert not [key for key in identity if key.startswith(("teacher.", "model.planner"))]
    command_line.apply_overrides(
        config, {"teacher.reasoning": "steps", "data.annotations": "a.jsonl"}
    )
    changed = make_run(config, Workdir("nowhere")).identity()
    assert changed["teacher.reasoning"] == "steps"
    assert {key for key in changed if key not in identity} == {"teacher.reasoning"}


def test_a_run_from_before_a_key_has_its_default():
    config = command_line.load_config("configs/demo.py")
    stored = json.loads(json.dumps(config.to_dict()))
    del stored["teacher"]["reasoning"], stored["model"]["solver"]["preset"], stored["tracking"]
    again = command_line.config_from_dict(stored)
    assert again.to_dict() == config.to_dict()
    stored["no_such_section"] = {"key": 1}  # a key that was taken away since stays
    assert command_line.config_from_dict(stored).no_such_section.key == 1
