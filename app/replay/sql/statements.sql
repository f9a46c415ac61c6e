-- The statements of app/replay/database.py. Each begins with its name.
-- {table} and the like are filled in with identifiers; %(name)s are parameters.

-- name: begin_session
-- Times without a zone mean UTC, and a digest is the same everywhere; no server's time limits end a wait for another
-- replay, or a dry run between two chunks.
SELECT set_config(name, value, false) FROM (VALUES
    ('TimeZone', 'UTC'), ('statement_timeout', '0'), ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '0')
) AS wanted (name, value)

-- name: try_lock
SELECT pg_try_advisory_xact_lock(%(key)s)

-- name: lock
SELECT pg_advisory_xact_lock(%(key)s)

-- name: prefer_indexes
-- Each statement of a load looks up the rows of one chunk, however many there are. What the planner knows of a table
-- that grows this fast is old, and it would rather read all of it.
SELECT set_config(name, 'off', false) FROM unnest(ARRAY['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) AS name

-- name: migrations
SELECT name FROM replay_migration

-- name: create_migrations
CREATE TABLE replay_migration (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())

-- name: note_migration
INSERT INTO replay_migration (name) VALUES (%(name)s)

-- name: has_table
SELECT EXISTS (
    SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = current_schema() AND relname = %(name)s
)

-- name: columns
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = %(table)s ORDER BY ordinal_position

-- name: known
-- What the ledger says of these files, so far as it was written by the present rules.
SELECT sha256, outcome, reason, path, mapping_version FROM replay_record WHERE sha256 = ANY(%(files)s)

-- name: stored_formats
SELECT sha256 FROM job_format WHERE sha256 = ANY(%(hashes)s)

-- name: add_format
INSERT INTO job_format (sha256, schema) VALUES (%(hash)s, %(schema)s::jsonb) ON CONFLICT DO NOTHING

-- name: stored_results
SELECT sha256 FROM job_result WHERE sha256 = ANY(%(files)s)

-- name: create_touched
-- The rows that a chunk of recordings speaks of, or no longer does.
CREATE TEMPORARY TABLE IF NOT EXISTS replay_touched (table_name text, row_id uuid, PRIMARY KEY (table_name, row_id))
ON COMMIT DELETE ROWS

-- name: touch
INSERT INTO replay_touched SELECT DISTINCT table_name, row_id FROM record_source
WHERE recording = ANY(%(files)s) ON CONFLICT DO NOTHING

-- name: touched_tables
SELECT DISTINCT table_name FROM replay_touched

-- name: clear_touched
TRUNCATE replay_touched

-- name: forget_sources
DELETE FROM record_source WHERE recording = ANY(%(files)s)

-- name: forget_quarantine
DELETE FROM quarantine WHERE recording = ANY(%(files)s)

-- name: forget_records
DELETE FROM replay_record WHERE sha256 = ANY(%(files)s)

-- name: move
UPDATE replay_record SET path = %(path)s WHERE sha256 = %(file)s

-- name: move_result
UPDATE job_result SET path = %(path)s WHERE sha256 = %(file)s

-- name: move_quarantine
UPDATE quarantine SET path = %(path)s WHERE recording = %(file)s

-- name: supersede
-- Of all accepted recordings of one source the latest is loaded, whatever came first.
UPDATE replay_record SET outcome = ranked.outcome
FROM (
    SELECT sha256, CASE WHEN row_number() OVER (
        PARTITION BY source_id
        ORDER BY created_at DESC, job_id COLLATE "C" DESC, completed_at DESC NULLS LAST, sha256 DESC
    ) = 1 THEN 'loaded' ELSE 'superseded' END AS outcome
    FROM replay_record
    WHERE reason IS NULL AND source_id = ANY(%(sources)s)
) AS ranked
WHERE replay_record.sha256 = ranked.sha256 AND replay_record.outcome <> ranked.outcome
RETURNING replay_record.sha256, replay_record.outcome, replay_record.replayed_at = %(replayed_at)s

-- name: merge
-- A row is what all loaded recordings say of it together: the later one's fields over the earlier one's.
WITH said AS (
    SELECT source.row_id, fields_in_order(
        source.fields ORDER BY record.created_at, record.job_id COLLATE "C", record.completed_at NULLS FIRST, record.sha256
    ) AS fields
    FROM replay_touched AS touched
    JOIN record_source AS source USING (table_name, row_id)
    JOIN replay_record AS record ON record.sha256 = source.recording AND record.outcome = 'loaded'
    WHERE touched.table_name = %(table)s
    GROUP BY source.row_id
), merged AS (
    INSERT INTO {table} AS old
    SELECT new.* FROM said, jsonb_populate_record(
        NULL::{table}, %(defaults)s || said.fields || jsonb_build_object('id', said.row_id)
    ) AS new
    ON CONFLICT (id) DO UPDATE SET {assignments} WHERE ({old}) IS DISTINCT FROM ({new})
    RETURNING (xmax = 0) AS inserted
)
SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM merged

-- name: drop_unsaid
-- A row that no loaded recording speaks of any more goes.
DELETE FROM {table} USING replay_touched AS touched
WHERE touched.table_name = %(table)s AND {table}.id = touched.row_id AND NOT EXISTS (
    SELECT FROM record_source AS source
    JOIN replay_record AS record ON record.sha256 = source.recording AND record.outcome = 'loaded'
    WHERE source.table_name = touched.table_name AND source.row_id = touched.row_id
)

-- name: digest
-- The sum of the hashes of all rows: the same rows, in whatever order, give the same number.
SELECT count(*), coalesce(sum(hashtextextended(row_to_json(row)::text, 0)::numeric), 0)
FROM (SELECT {columns} FROM {table}) AS row
