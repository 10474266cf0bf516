#!/usr/bin/env bash
# Runs the public suite for HTTP caches against the lb that was built, and fails when a test does not pass that is expected to by
# tests/conformance/score.json. SUITE=CHECKOUT runs the tests of a checkout of github.com/http-tests/cache-tests instead, for their score.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$target/conformance

if [ -n "${SUITE:-}" ]; then
  suite=$(tests/conformance/install.sh "$folder" "$SUITE")
  exec node tests/conformance/run.mjs "$target/debug/lb" "$suite" "$folder/results-checkout.json"
fi
suite=$(tests/conformance/install.sh "$folder")
exec node tests/conformance/run.mjs "$target/debug/lb" "$suite" "$folder/results.json" tests/conformance/score.json
