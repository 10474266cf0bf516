#!/usr/bin/env bash
# Fuzzes each target in turn, FUZZ_SECONDS in total. Stable Rust has all that it takes: LLVM's pass for coverage counters, and a C++ compiler
# for libFuzzer. What reaches new code is kept in target/fuzz/corpus and is where the next run begins.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
targets=(request_head response_head chunked_body)
out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# With a --target, what runs while compiling (build scripts, macros) is compiled without counters.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
(cd tests/fuzz && RUSTFLAGS=$coverage CARGO_TARGET_DIR=$out ${CARGO:-cargo} build --release --locked --target "$host")

for target in "${targets[@]}"; do
  mkdir -p "$out/corpus/$target"
  log=$out/$target.log
  if ! "$out/$host/release/$target" -max_total_time=$((seconds / ${#targets[@]})) -max_len=4096 -timeout=5 \
    -artifact_prefix="$out/$target-" "$out/corpus/$target" "tests/fuzz/seeds/$target" >"$log" 2>&1; then
    grep -v '^#\|^ \+[0-9]*: \|^ \+at ' "$log" | tail -30
    echo "$target: a promise is broken; the input is in $out/$target-*, the whole log in $log" >&2
    exit 1
  fi
  echo "$target: $(grep '^Done' "$log"), $(ls "$out/corpus/$target" | wc -l) inputs in the corpus"
done
