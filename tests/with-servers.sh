#!/usr/bin/env bash
# Runs a command with a PostgreSQL and a Redis of its own:
#
#     tests/with-servers.sh cargo test -p backend
#
# Both listen on free ports of 127.0.0.1, keep their files in one temporary folder, and are stopped and removed when the command
# ends, fails or is interrupted. The command finds them through TEST_DATABASE_URL (a role that may create databases) and
# TEST_REDIS_URL. A server that is not installed is an error, never a reason to skip.
set -euo pipefail
# Each job in a process group of its own: Ctrl-C reaches this script alone, which then stops everything in order.
set -m

fail() {
    echo "with-servers: $*" >&2
    exit 1
}

[ $# -gt 0 ] || fail "expected a command, as in: tests/with-servers.sh cargo test"

# The newest PostgreSQL of Debian's packages, else whatever is in PATH.
postgres_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1)
    if [ -x "$newest/initdb" ]; then
        echo "$newest"
    elif command -v initdb >/dev/null; then
        dirname "$(command -v initdb)"
    fi
}
PG_BIN=$(postgres_bin)
[ -n "$PG_BIN" ] || fail "PostgreSQL is missing: expected /usr/lib/postgresql/*/bin/initdb (Debian: apt-get install postgresql)"
command -v redis-server >/dev/null || fail "Redis is missing: expected redis-server in PATH (Debian: apt-get install redis-server)"

# PostgreSQL refuses to run as root, and Redis had better not.
as_user=()
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    command -v setpriv >/dev/null || fail "setpriv is missing: expected it to run the servers as $user instead of root (Debian: util-linux)"
    as_user=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --)
fi

# Not $TMPDIR: the path of a socket may have 107 bytes only.
DIR=$(mktemp -d /tmp/lb-servers.XXXXXX)
[ ${#as_user[@]} = 0 ] || chown "$user" "$DIR"
# PostgreSQL complains about a current folder that its user may not read.
cd_dir() { cd "$DIR"; }

command_pid=
redis_pid=
cleanup() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [ -n "$command_pid" ] && kill -TERM -- "-$command_pid" 2>/dev/null; then
        wait "$command_pid" 2>/dev/null || true
    fi
    if [ -e "$DIR/postgres/postmaster.pid" ]; then
        (cd_dir && "${as_user[@]}" "$PG_BIN/pg_ctl" -D "$DIR/postgres" -m immediate -w stop >/dev/null 2>&1) || true
    fi
    if [ -n "$redis_pid" ] && kill -TERM "$redis_pid" 2>/dev/null; then
        wait "$redis_pid" 2>/dev/null || true
    fi
    rm -rf "$DIR"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the system takes the ports of outgoing connections, so that nothing else comes upon it by chance.
free_port() {
    local port
    while port=$((10000 + RANDOM % 22000)); listens "$port"; do :; done
    echo "$port"
}

start_postgres() {
    (cd_dir && "${as_user[@]}" "$PG_BIN/initdb" -D "$DIR/postgres" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync) \
        >"$DIR/initdb.log" 2>&1 || { cat "$DIR/initdb.log" >&2; fail "initdb failed"; }
    local options="-c listen_addresses=127.0.0.1 -c unix_socket_directories=$DIR -c max_connections=500 -c shared_buffers=64MB"
    # What is thrown away need not survive a power failure.
    options+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    local try
    for try in 1 2 3 4 5; do
        PG_PORT=$(free_port)
        if (cd_dir && "${as_user[@]}" "$PG_BIN/pg_ctl" -D "$DIR/postgres" -l "$DIR/postgres/server.log" -w -t 30 \
            -o "$options -c port=$PG_PORT" start) >/dev/null 2>&1; then
            return
        fi
    done
    cat "$DIR/postgres/server.log" >&2
    fail "PostgreSQL did not start in $try tries"
}

start_redis() {
    local try wait
    for try in 1 2 3 4 5; do
        REDIS_PORT=$(free_port)
        (cd_dir && exec "${as_user[@]}" redis-server --port "$REDIS_PORT" --bind 127.0.0.1 --save '' --appendonly no --dir "$DIR" \
            >"$DIR/redis.log" 2>&1) &
        redis_pid=$!
        for wait in $(seq 100); do
            kill -0 "$redis_pid" 2>/dev/null || break
            if listens "$REDIS_PORT"; then return; fi
            sleep 0.05
        done
        kill -TERM "$redis_pid" 2>/dev/null || true
    done
    cat "$DIR/redis.log" >&2
    fail "Redis did not start in $try tries of $wait looks"
}

start_postgres
start_redis
export TEST_DATABASE_URL="postgres://postgres@127.0.0.1:$PG_PORT/postgres"
export TEST_REDIS_URL="redis://127.0.0.1:$REDIS_PORT"

"$@" &
command_pid=$!
status=0
wait "$command_pid" || status=$?
command_pid=
exit "$status"
