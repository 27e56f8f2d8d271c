#!/usr/bin/env bash
# Runs every libFuzzer target for SECONDS_EACH and goes on from the corpus of the last call. Exit status 1 if one found
# an input that fails; it is kept in BUILD/found/NAME, and belongs into tests/fuzz/found/NAME with the fix.
#
#   tests/fuzz/run.sh BUILD [SECONDS_EACH [NAME ...]]
set -euo pipefail
build=$1 seconds=${2:-60}
shift $(($# < 2 ? $# : 2))
programs="$build/tests/fuzz"
names=("$@")
[ ${#names[@]} -gt 0 ] || for path in "$programs"/fuzz_*; do [ ! -x "$path" ] || names+=("${path##*/fuzz_}"); done

failed=0
for name in "${names[@]}"; do
  corpus="$build/corpus/$name" found="$build/found/$name" log="$build/fuzz_$name.log"
  mkdir -p "$corpus" "$found"
  "$programs/replay_$name" --write "$corpus/seeds"
  if "$programs/fuzz_$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 \
      -print_final_stats=1 -artifact_prefix="$found/" "$corpus" "$corpus/seeds" >"$log" 2>&1; then
    awk -v name="$name" '/number_of_executed_units/ {runs = $2} / cov: / {for (i = 1; i < NF; ++i) if ($i == "cov:") cov = $(i + 1)}
      END {printf "%-12s %9d inputs, %5d edges, none fails\n", name, runs, cov}' "$log"
  else
    failed=1
    echo "$name: an input fails; it is in $found, the report in $log:"
    grep -m 3 -E 'fuzz: broken promise|ERROR|runtime error' "$log" || tail -n 5 "$log"
  fi
done
exit $failed
