#!/usr/bin/env bash
# The drills at full length, with the release binaries. Writes docs/DRILLS.md.
set -euo pipefail
cd "$(dirname "$0")/.."

report=$PWD/docs/DRILLS.md
cat >"$report" <<TEXT
# Drills

Made by \`make drills\`: real processes, a steady load, and a client of our own that checks every body. Failed is what is not 2xx, refused,
reset, late, short or wrong.

| drill | requests | failed | failed without retry | what else was seen |
| --- | ---: | ---: | ---: | --- |
TEXT
cargo build --release --locked -p lb -p backend
LB_TEST_BIN_DIR=$PWD/${CARGO_TARGET_DIR:-target}/release LB_DRILLS=full LB_DRILLS_REPORT=$report \
  cargo test --locked -p lb-tests --test drills -- --test-threads=1 --show-output
cat "$report"
