#!/bin/bash
# Runs once, on an empty volume. No stage is a superuser: `penstock_views` owns what `penstock materialize` keeps,
# `penstock_reader` reads it (`serve`, `verify`, `explain`, `books`) and can change nothing.
set -euo pipefail
psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set database="$POSTGRES_DB" --set views="$VIEWS_PASSWORD" --set reader="$READER_PASSWORD" <<'SQL'
BEGIN;
CREATE ROLE penstock_views LOGIN PASSWORD :'views';
CREATE ROLE penstock_reader LOGIN PASSWORD :'reader';
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- Batches are staged in temporary tables.
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO penstock_views;
GRANT USAGE, CREATE ON SCHEMA public TO penstock_views;
GRANT CONNECT ON DATABASE :"database" TO penstock_reader;
GRANT USAGE ON SCHEMA public TO penstock_reader;
-- Tables and views that are there, and all that come: a new view needs no new grant.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO penstock_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE penstock_views IN SCHEMA public GRANT SELECT ON TABLES TO penstock_reader;
-- Not what protects the data (a session can change it): it turns a slip into a clear error.
ALTER ROLE penstock_reader SET default_transaction_read_only = on;
COMMIT;
SQL
