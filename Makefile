# `make demo` and `make test` do all the set-up that a fresh machine with Python >= 3.11 needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETUP := setup.py constraints.txt pyproject.toml

.PHONY: demo test test_slow lint clean

demo: $(VENV)/.installed
	$(BIN)/python -m distill_jax.main --config configs/demo.py --workdir runs/demo

test: $(VENV)/.installed_dev
	$(BIN)/python -m pytest -m "not slow"

test_slow: $(VENV)/.installed_dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed_dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is older than Python 3.11: run 'make PYTHON=python3.11 $(MAKECMDGOALS)'"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.python $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed_dev: $(VENV)/.python $(SETUP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info
