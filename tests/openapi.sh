#!/usr/bin/env bash
# Sends a real backend what its OpenAPI document allows and forbids, by schemathesis, and has every answer checked against the document:
#
#     tests/with-servers.sh tests/openapi.sh
#
# Users are in the PostgreSQL of with-servers.sh, sessions in its Redis. The backend must be built (target/debug).
set -euo pipefail
cd "$(dirname "$0")/.."

version=4.32.5
target=${CARGO_TARGET_DIR:-target}
tools=$(realpath -m "$target")/schemathesis-$version
dir=$(mktemp -d "${TMPDIR:-/tmp}/openapi.XXXXXX")
backend=

stop() {
  status=$?
  trap - EXIT
  if [ -n "$backend" ] && kill -TERM "$backend" 2>/dev/null; then wait "$backend" || true; fi
  [ "$status" = 0 ] || { echo "openapi: the backend's last words:" >&2; tail -5 "$dir/backend.log" >&2 || true; }
  rm -rf "$dir"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ ! -x "$tools/bin/schemathesis" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

export DATABASE_URL=${TEST_DATABASE_URL:?tests/with-servers.sh sets it} REDIS_URL=${TEST_REDIS_URL:?tests/with-servers.sh sets it}
export JWT_SECRET="the secret of a test, long enough" AUTH=writes PORT=0 HOST=127.0.0.1
echo "correct horse" | "$target/debug/backend" create-admin --email root@example.com >/dev/null
"$target/debug/backend" serve >"$dir/backend.log" 2>"$dir/backend.err" &
backend=$!

# The address is in the first line of the log.
python3 - "$dir" "$backend" >"$dir/answers" <<'PY'
import json, os, sys, time, urllib.request

folder, pid = sys.argv[1], int(sys.argv[2])

def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)

deadline = time.monotonic() + 30
while True:
    try:
        os.kill(pid, 0)
        with open(f"{folder}/backend.log") as log:
            url = "http://" + json.loads(log.readline())["addr"]
        ask(url + "/ready")
        break
    except (ValueError, OSError):
        if time.monotonic() > deadline:
            sys.exit("openapi: the backend did not become ready")
        time.sleep(0.1)
print(url)
print(ask(url + "/auth/login", {"email": "root@example.com", "password": "correct horse"})["access_token"])
PY
{ read -r url; read -r token; } <"$dir/answers"

cp tests/openapi.toml tests/openapi_hooks.py "$dir"
cd "$dir"
TOKEN=$token PYTHONPATH=$dir "$tools/bin/schemathesis" --config-file openapi.toml run "$url/openapi.json" "$@"
