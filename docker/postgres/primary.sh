#!/usr/bin/env bash
# Lets a replica follow this PostgreSQL: a role that may replicate, a slot that keeps the log until the replica has it, and the right to come in.
#
# The image runs it when the database is made. In a database that was made before, once by hand:
#
#     docker compose -f docker/compose.yml exec postgres bash /docker-entrypoint-initdb.d/replication.sh
#
# It may run again: what is there already stays, and the password becomes what REPLICATION_PASSWORD says.
set -euo pipefail
: "${POSTGRES_USER:?}" "${POSTGRES_DB:?}" "${PGDATA:?}" "${REPLICATION_PASSWORD:?the password of the role by which replicas follow}"
slot=${REPLICATION_SLOT:-replica}

sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"; }

sql --set password="$REPLICATION_PASSWORD" --set slot="$slot" >/dev/null <<'SQL'
SELECT 'CREATE ROLE replicator' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'replicator') \gexec
ALTER ROLE replicator LOGIN REPLICATION PASSWORD :'password';
SELECT pg_create_physical_replication_slot(:'slot') WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot');
SQL

rule='host replication replicator all scram-sha-256'
if ! grep -qxF "$rule" "$PGDATA/pg_hba.conf"; then
  echo "$rule" >>"$PGDATA/pg_hba.conf"
fi
sql --command 'SELECT pg_reload_conf()' >/dev/null
