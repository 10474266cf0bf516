#!/usr/bin/env bash
# Runs a PostgreSQL that follows the one at PRIMARY_HOST, and answers reads. Arguments go to postgres.
#
# The first time it copies the primary. A copy that was interrupted is begun anew. Once it has fallen so far behind that the primary no longer has the log
# (max_slot_wal_keep_size), it needs a new copy: remove its volume.
set -euo pipefail
: "${PRIMARY_HOST:?}" "${PGDATA:?}" "${REPLICATION_PASSWORD:?the password of the role by which replicas follow}"
port=${PRIMARY_PORT:-5432} slot=${REPLICATION_SLOT:-replica}
copy=$PGDATA.copy
# For pg_basebackup, and for the server that follows.
export PGPASSWORD=$REPLICATION_PASSWORD

if [ ! -e "$PGDATA/standby.signal" ]; then
  if [ -n "$(ls -A "$PGDATA" 2>/dev/null)" ]; then
    echo "replica: $PGDATA holds a database that follows nobody; expected nothing there, or a replica" >&2
    exit 1
  fi
  until pg_isready --quiet --host "$PRIMARY_HOST" --port "$port"; do
    echo "replica: waiting for PostgreSQL at $PRIMARY_HOST port $port" >&2
    sleep 1
  done
  rm -rf "$copy"
  pg_basebackup --pgdata "$copy" --write-recovery-conf --slot "$slot" --checkpoint fast --no-password \
    --host "$PRIMARY_HOST" --port "$port" --username replicator
  # Whole, or not there.
  rm -rf "$PGDATA"
  mv "$copy" "$PGDATA"
fi
exec postgres -D "$PGDATA" "$@"
