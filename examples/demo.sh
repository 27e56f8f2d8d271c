#!/usr/bin/env bash
# The main job in one go: four workers (MPI processes) behind 20 Mbit/s links train a small language model on WordNet's
# glosses; half way all of them are killed, the run is resumed, and a table says how it went.
#
#   examples/demo.sh [BUILD_FOLDER]        default: build/release
set -euo pipefail
cd "$(dirname "$0")/.."
thinwire=${1:-build/release}/thinwire
config=examples/pretrain.toml
run=runs/demo
workers=4
steps=600

die() { echo "demo: $*" >&2; exit 1; }

# Steps logged so far.
logged_step() { { tail -n 1 "$run/metrics.jsonl" 2>/dev/null || true; } | sed -n 's/.*"step":\([0-9]*\).*/\1/p'; }

# The worker processes: children of mpirun, which is the launcher's child.
worker_processes() {
  local starter
  for starter in $(pgrep -P "$1"); do pgrep -P "$starter"; done
}

examples/wordnet_glosses.sh build/data/wordnet
rm -rf "$run"

echo "== $workers workers, 20mbit/40ms, e3m0 with error feedback; all are killed half way"
"$thinwire" launch $config -n $workers --set run.dir=$run --set inner.steps=$steps &
launcher=$!
trap 'kill "$launcher" 2>/dev/null || true' EXIT
until [ "$(logged_step || true)" -ge $((steps / 2)) ] 2>/dev/null; do
  kill -0 $launcher 2>/dev/null || die "the run ended before it could be killed"
  sleep 0.5
done
# shellcheck disable=SC2046  # one word per process is meant
kill -KILL $(worker_processes $launcher)
if wait $launcher; then die "the launcher did not notice that its workers were killed"; fi

echo "== resumed from the newest checkpoint"
"$thinwire" resume $run
"$thinwire" verify $run

python3 - "$run" <<'PY'
import json, re, sys
run = sys.argv[1]
s = json.load(open(f"{run}/summary.json"))
values = json.load(open(f"{run}/checkpoints/step-{s['steps']}/worker-0/manifest.json"))["meta"]["travelling_values"]
workers, steps = s["workers"], s["steps"]
# Data-parallel float32 by all-to-all and all-gather: each worker sends 2 (M-1)/M of the gradients every step.
ddp_bytes = steps * 2 * (workers - 1) / workers * 4 * values
link_seconds = ddp_bytes * 8 * 1514 / 1448 / 20e6 + steps * 2 * 0.040 / 2
print(f"""
  parameters                             {values / 1e6:.2f} M
  evaluation loss                        {s['eval_loss']:.4f} nats per token, {s['eval_bits_per_byte']:.4f} bits per byte
  sent per worker                        {s['wire_bytes_per_worker'] / 1e6:.1f} MB
  data-parallel float32, same steps      {ddp_bytes / 1e6:.1f} MB ({ddp_bytes / s['wire_bytes_per_worker']:.0f} times as much)
  compute utilisation                    {s['compute_utilization']:.3f} at {s['workers_per_core']:.0f} workers per core
  wall time, start and resume            {s['wall_seconds']:.0f} s
  data-parallel on this link, by formula {link_seconds + steps * s['step_seconds']:.0f} s ({link_seconds:.0f} s of them on the wire)
  agreed digest, equal on all workers    {s['outer_digest']}
  resumed from step                      {s['resumed_from']}
""")
PY

echo "== three glosses"
for prompt in "a small" "the act of" "of or relating to"; do
  "$thinwire" generate $run --prompt "$prompt" --one-line --max-tokens 40 --temperature 0.7 --seed 1
done
