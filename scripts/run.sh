#!/usr/bin/env bash
# Three backends on one embedded SQLite database, and lb in front of them, until Ctrl-C. The binaries must be built.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${CARGO_TARGET_DIR:-target}/release
mkdir -p data
export AUTH=off DATABASE_URL="sqlite:data/users.db" HOST=127.0.0.1
# Shown by the script, so that the backends' own variables do not reach lb.
pids=()
lb=

stop() {
  trap - EXIT INT TERM
  [ -n "$lb" ] && kill -TERM "$lb" 2>/dev/null && wait "$lb" 2>/dev/null
  [ ${#pids[@]} -gt 0 ] && kill -TERM "${pids[@]}" 2>/dev/null
  wait 2>/dev/null
  echo "stopped" >&2
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  echo "make run: $1" >&2
  exit 1
}

"$bin/backend" migrate >data/migrate.log 2>&1 || { cat data/migrate.log >&2; fail "the database could not be prepared"; }
for n in 1 2 3; do
  PORT=300$n "$bin/backend" serve >"data/backend-$n.log" 2>&1 &
  pids+=($!)
done
"$bin/lb" run -c config/lb.toml &
lb=$!

url=http://127.0.0.1:8080
for _ in $(seq 100); do
  kill -0 "$lb" 2>/dev/null || fail "lb did not start (see above)"
  for n in 1 2 3; do
    kill -0 "${pids[n - 1]}" 2>/dev/null || { tail -5 "data/backend-$n.log" >&2; fail "backend $n did not start (data/backend-$n.log)"; }
  done
  python3 - "$url/users" <<'PY' && break
import sys, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=1)
except Exception:
    sys.exit(1)
PY
  sleep 0.1
done

cat >&2 <<TEXT

  lb        $url/users           its access log follows below
  admin     http://127.0.0.1:9901/api/status   (also: $bin/lb status)
  backends  process ids ${pids[*]}         their logs: data/backend-*.log

  try       curl -i $url/users -H 'content-type: application/json' -d '{"name":"Ada","email":"ada@example.com"}'
            curl -i $url/users

  Ctrl-C stops everything.

TEXT
wait "$lb"
