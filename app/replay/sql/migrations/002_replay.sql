-- What replay itself keeps: every recording, what became of it, and which of them each HSDS row came from.

CREATE TABLE job_format (
    sha256 bytea PRIMARY KEY,
    schema jsonb NOT NULL
);
COMMENT ON TABLE job_format IS 'The JSON schemas that jobs asked for (job.format), each once';
COMMENT ON COLUMN job_format.sha256 IS 'SHA-256 of the schema as compact JSON with sorted keys';

CREATE TABLE job_result (
    sha256 bytea PRIMARY KEY,
    job_id text,
    scraper_id text,
    status text,
    created_at timestamptz,
    completed_at timestamptz,
    processing_time_s double precision,
    retry_count integer,
    error text,
    size_bytes bigint NOT NULL,
    path text NOT NULL,
    format_sha256 bytea REFERENCES job_format,
    document jsonb,
    raw text,
    CHECK (document IS NOT NULL OR raw IS NOT NULL)
);
COMMENT ON TABLE job_result IS 'Every recording that was replayed, whole';
COMMENT ON COLUMN job_result.sha256 IS 'SHA-256 of the file: what tells recordings apart';
COMMENT ON COLUMN job_result.path IS 'The file, from the folder daily/ on where there is one';
COMMENT ON COLUMN job_result.format_sha256 IS 'The schema that was cut out of document at job.format';
COMMENT ON COLUMN job_result.document IS 'The recording without job.format; null where jsonb can''t hold it';
COMMENT ON COLUMN job_result.raw IS 'The file''s text where document can''t say it, or not to the last digit; null elsewhere';
CREATE INDEX ON job_result (job_id);
CREATE INDEX ON job_result (scraper_id, created_at);

CREATE TABLE replay_record (
    sha256 bytea PRIMARY KEY,
    job_id text,
    scraper_id text,
    content_hash text,
    created_at timestamptz,
    completed_at timestamptz,
    path text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('loaded', 'superseded', 'rejected')),
    reason text CHECK ((reason IS NOT NULL) = (outcome = 'rejected')),
    parse_mode text,
    shape text,
    source_key text,
    source_id uuid,
    input jsonb,
    mapping_version integer NOT NULL,
    replayed_at timestamptz NOT NULL
);
COMMENT ON TABLE replay_record IS 'The ledger: what became of every recording';
COMMENT ON COLUMN replay_record.outcome IS 'loaded; superseded by a later recording of the same source; or rejected';
COMMENT ON COLUMN replay_record.reason IS 'Why it was rejected';
COMMENT ON COLUMN replay_record.source_key IS 'What it is an answer about: of one source the latest counts';
COMMENT ON COLUMN replay_record.source_id IS 'A hash of source_key';
COMMENT ON COLUMN replay_record.input IS 'The scraped record that the answer was made from';
CREATE INDEX ON replay_record (source_id) WHERE source_id IS NOT NULL;
CREATE INDEX ON replay_record (job_id);

CREATE TABLE record_source (
    recording bytea NOT NULL REFERENCES replay_record,
    table_name text NOT NULL,
    row_id uuid NOT NULL,
    job_id text,
    fields jsonb NOT NULL,
    PRIMARY KEY (row_id, table_name, recording)
);
COMMENT ON TABLE record_source IS 'What each accepted recording says of each row: where a row came from';
COMMENT ON COLUMN record_source.recording IS 'replay_record.sha256';
COMMENT ON COLUMN record_source.row_id IS 'The row''s id, if the recording, or another loaded one that says it, counts';
CREATE INDEX ON record_source (recording);

CREATE TABLE quarantine (
    recording bytea NOT NULL REFERENCES replay_record,
    number integer NOT NULL,
    job_id text,
    path text NOT NULL,
    entity text NOT NULL,
    reason text NOT NULL,
    raw text NOT NULL,
    PRIMARY KEY (recording, number)
);
COMMENT ON TABLE quarantine IS 'What recordings say that was not loaded as it stood';
CREATE INDEX ON quarantine (reason);

-- Of several recordings that speak of one row, the later one's fields come over the earlier one's.
CREATE AGGREGATE fields_in_order (jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

COMMENT ON TABLE replay_migration IS 'The steps by which this schema was made';
