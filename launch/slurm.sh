#!/usr/bin/env bash
#
# A batch job of Slurm that goes back into the queue until the run is done. Call it from the source
# tree, on a disk that all nodes see:
#
#   CONFIG=configs/gsm8k_gpt2.py WORKDIR=runs/gpt2 EXTRA=cuda \
#       sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --time=4:00:00 launch/slurm.sh [--config. ...]
#
# Use one task per GPU (JAX gives each task of Slurm one device); a job with one task uses all devices
# that it sees. 300 s before the time limit every task gets a signal to save and stop (exit code 75).
#
# Variables: CONFIG WORKDIR (needed); EXTRA PYTHON as in run.sh; MAX_RESTARTS (10): how often to go
# back into the queue, after exit codes 75, 134, 137, 139 and 143, and with several tasks also 1.
#SBATCH --job-name=distill_jax
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@300
set -euo pipefail
# sbatch runs a copy of this file; the source tree is the directory in which it was called.
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/..}"
source launch/steps.sh

options "CONFIG WORKDIR EXTRA PYTHON MAX_RESTARTS" "$@"
need CONFIG WORKDIR
count MAX_RESTARTS
export CONFIG WORKDIR EXTRA=${EXTRA:-}
most=${MAX_RESTARTS:-10}
# Here the loop is Slurm's queue; 0 also means that signals reach the program once.
export MAX_RESTARTS=0
tasks=${SLURM_NTASKS:-1}
if ((tasks > 1)); then
  export PROCESSES=0
fi
if [[ -z ${PYTHON:-} ]]; then
  step launch/run.sh --setup_only
  PYTHON=$PWD/.venv/bin/python
fi
export PYTHON

code=0
step srun --kill-on-bad-exit=1 launch/run.sh -- "${REST[@]}" || code=$?
[[ -z $DRY_RUN ]] || exit 0

case $code in
  75 | 134 | 137 | 139 | 143) again=1 ;;
  1) ((tasks > 1)) && again=1 || again='' ;;
  *) again='' ;;
esac
if [[ -n $again ]] && ((${SLURM_RESTART_COUNT:-0} < most)); then
  echo "launch: exit code $code: into the queue again ($((${SLURM_RESTART_COUNT:-0} + 1)) of $most)" >&2
  step scontrol requeue "$SLURM_JOB_ID"
else
  echo "launch: ended with exit code $code" >&2
fi
exit "$code"
