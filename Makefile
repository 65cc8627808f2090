# `make demo` and `make test` do all the set-up that a fresh machine with Python >= 3.11 needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETUP := setup.py constraints.txt pyproject.toml
# `make test EXTRAS=dev,peers,trl,tpu,serving` also compares with PyTorch and compiles for TPUs.
EXTRAS ?= dev
# Two tests at a time.
PARALLEL ?= -n 2 --dist worksteal
# Compiling is most of what quick tests do: half of it goes without the last optimisations. The slow
# tests compile as users do.
QUICK_COMPILATION := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true

.PHONY: demo test coverage test_slow lint docs bench bench_sample bench_all repository clean always data_is_set

demo: $(VENV)/.installed
	$(BIN)/python -m distill_jax.main --config configs/demo.py --workdir runs/demo
	@echo "next: $(BIN)/python -m distill_jax.ask --workdir runs/demo"

test: $(VENV)/.installed_dev
	XLA_FLAGS="$(QUICK_COMPILATION)" $(BIN)/python $(COVERAGE) -m pytest -m "not slow" $(PARALLEL)

# The same with the share of lines that ran, without what ran in processes of its own, and without
# configs, which run as files that it does not see.
coverage: COVERAGE := -m slipcover --source distill_jax --omit 'distill_jax/configs/*' --skip-covered
coverage: test

test_slow: $(VENV)/.installed_dev
	$(BIN)/python -m pytest -m slow $(PARALLEL)

lint: $(VENV)/.installed_dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/pyright --pythonpath $(BIN)/python distill_jax
	$(BIN)/lint-imports --no-cache
	$(BIN)/shellcheck -x launch/*.sh
	$(BIN)/shfmt -d -i 2 -ci launch/*.sh
	$(BIN)/hadolint Dockerfile

# site/ from README.md, docs/ and the others; a link that leads nowhere is an error (not with --quiet,
# which counts no warnings). The variable silences what a plugin says about versions of mkdocs that
# setup.py rules out.
docs: $(VENV)/.installed_dev
	DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict

# DATA holds gsm8k/ and gpt2_tokenizer/, as `benchmarks/bench_all.py --help` says.
DATA ?= $(error set DATA=DIR, a directory with gsm8k/ and gpt2_tokenizer/)
data_is_set: # before anything is installed
	@: $(DATA)

# Training against PyTorch on this machine's CPU.
bench: data_is_set $(VENV)/.installed_dev
	$(BIN)/python benchmarks/train.py cpu --data $(DATA) --output bench_train_cpu.json

# Sampling against transformers, likewise.
bench_sample: data_is_set $(VENV)/.installed_dev
	$(BIN)/python benchmarks/sample.py cpu --data $(DATA) --output bench_sample_cpu.json

# The figures of docs/speed.md, in parts of at most an hour on two cores; what RESULTS has is not
# measured again. MOST=1 measures one part; with RUN=runs/demo, a finished run, also how fast it
# answers. Needs EXTRAS=dev,peers,trl,gguf.
RESULTS ?= bench_results
MOST ?= 0
RUN ?=
bench_all: data_is_set $(VENV)/.installed_dev
	$(BIN)/python benchmarks/bench_all.py --data $(DATA) --output $(RESULTS) --most $(MOST) --run=$(RUN)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is older than Python 3.11: run 'make PYTHON=python3.11 $(MAKECMDGOALS)'"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.python $(SETUP)
	@echo "installing (about a minute)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

# All extras that were asked for so far: changes if EXTRAS has another one.
$(VENV)/.extras: $(VENV)/.python always
	@[ -e $@ ] || : > $@
	@for extra in $$(echo '$(EXTRAS)' | tr , ' '); do grep -qx "$$extra" $@ || echo "$$extra" >> $@; done

$(VENV)/.installed_dev: $(VENV)/.python $(VENV)/.extras $(SETUP)
	@echo "installing (a few minutes)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$$(paste -sd, $(VENV)/.extras)]"
	touch $@ $(VENV)/.installed

# `make repository REPOSITORY=YOU/distill_jax`: the files that name the one of setup.py name this one.
REPOSITORY ?= $(error set REPOSITORY=YOU/distill_jax)
repository:
	old=$$(sed -n 's/^REPOSITORY = "\(.*\)"/\1/p' setup.py) && \
		perl -pi -e "s|\Q$$old\E|$(REPOSITORY)|g" setup.py CITATION.cff README.md notebooks/evaluate.ipynb

clean:
	rm -rf $(VENV) build dist site *.egg-info
