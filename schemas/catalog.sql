-- The catalog: DuckDB tables equal to the Arrow schemas of schemas/tables.py.
-- No keys or indexes: one process writes, under one lock, and keeps names and ids unique itself.
CREATE SEQUENCE IF NOT EXISTS video_ids;
CREATE SEQUENCE IF NOT EXISTS space_ids;
CREATE SEQUENCE IF NOT EXISTS file_ids;
CREATE SEQUENCE IF NOT EXISTS versions;

CREATE TABLE IF NOT EXISTS videos (
    video_id BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    content_hash VARCHAR,
    duration_seconds DOUBLE,
    fps DOUBLE,
    width INTEGER,
    height INTEGER,
    codec VARCHAR,
    num_frames BIGINT,
    size_bytes BIGINT,
    ingested_at TIMESTAMP NOT NULL,
    status VARCHAR NOT NULL,
    error VARCHAR,
    report JSON,
    recorded_at TIMESTAMP,
    recorded_from VARCHAR
);
CREATE TABLE IF NOT EXISTS aliases (
    name VARCHAR NOT NULL,
    video_id BIGINT NOT NULL,
    path VARCHAR NOT NULL,
    added_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS gops (
    video_id BIGINT NOT NULL,
    gop INTEGER NOT NULL,
    start_seconds DOUBLE NOT NULL,
    stop_seconds DOUBLE NOT NULL,
    num_frames INTEGER NOT NULL,
    key_pts BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS spaces (
    space_id INTEGER NOT NULL,
    space_key VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    revision VARCHAR NOT NULL,
    weight_hash VARCHAR NOT NULL,
    preprocessing JSON NOT NULL,
    dimension INTEGER NOT NULL,
    added_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS segments (
    video_id BIGINT NOT NULL,
    space_id INTEGER NOT NULL,
    sampling VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    shown BOOLEAN NOT NULL,
    num_frames BIGINT,
    finished_at TIMESTAMP
);
CREATE TABLE IF NOT EXISTS stretches (
    video_id BIGINT NOT NULL,
    space_id INTEGER NOT NULL,
    sampling VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    stretch INTEGER NOT NULL,
    start_seconds DOUBLE NOT NULL,
    stop_seconds DOUBLE NOT NULL,
    num_frames INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    part_id BIGINT NOT NULL,
    space_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    num_rows BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    checksum VARCHAR NOT NULL,
    format INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS holdings (
    part_id BIGINT NOT NULL,
    video_id BIGINT NOT NULL,
    sampling VARCHAR NOT NULL,
    strategy VARCHAR,
    stretch INTEGER
);
CREATE TABLE IF NOT EXISTS discarded (
    path VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS stored_frames (
    space_id INTEGER NOT NULL,
    row_id BIGINT NOT NULL,
    video_id BIGINT NOT NULL,
    frame INTEGER NOT NULL,
    seconds DOUBLE NOT NULL,
    picture VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    reuse_rate FLOAT NOT NULL,
    drift FLOAT,
    exact BOOLEAN NOT NULL,
    part_id BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS indexes (
    space_id INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    checksum VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    num_rows BIGINT NOT NULL,
    version BIGINT NOT NULL,
    built_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    job_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    request JSON NOT NULL,
    progress JSON,
    error VARCHAR,
    created_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    finished_at TIMESTAMP
);
CREATE TABLE IF NOT EXISTS calibration (
    space_id INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    value JSON NOT NULL,
    updated_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS user_columns (
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS cells (
    video_id BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);
CREATE TABLE IF NOT EXISTS saved_views (
    name VARCHAR NOT NULL,
    sql VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL
);
CREATE TABLE IF NOT EXISTS transcripts (
    part_id BIGINT NOT NULL,
    video_id BIGINT NOT NULL,
    source VARCHAR NOT NULL,
    language VARCHAR,
    digest VARCHAR NOT NULL,
    path VARCHAR NOT NULL,
    num_lines BIGINT NOT NULL,
    damaged BIGINT NOT NULL,
    damage VARCHAR,
    size_bytes BIGINT NOT NULL,
    checksum VARCHAR NOT NULL,
    added_at TIMESTAMP NOT NULL
);
CREATE OR REPLACE VIEW frames AS
SELECT video_id, frame, seconds, picture, strategy, reuse_rate, drift, exact,
    recorded_at + to_microseconds(round(seconds * 1000000)::BIGINT) AS at
FROM stored_frames LEFT JOIN (SELECT video_id, recorded_at FROM videos) USING (video_id)
WHERE space_id = (
    SELECT space_id FROM spaces
    WHERE space_key = (SELECT value FROM settings WHERE name = 'space')
);
