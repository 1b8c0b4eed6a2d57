-- What reading will take, what it took, and whether it may begin.

-- name: ask_before_reading
-- The first listing begins: nothing is read before the person says so. Who is read already is not asked.
INSERT INTO settings AS s (user_id, reading) SELECT app_user_id(), 'asks'
WHERE NOT EXISTS (SELECT FROM gdrive_jobs j WHERE j.user_id = app_user_id())
ON CONFLICT (user_id) DO UPDATE SET reading = 'asks' WHERE s.reading IS NULL;

-- name: reading
-- Whether the person's files are read.
SELECT reading, reading_from, reading_from_id FROM settings WHERE user_id = app_user_id();

-- name: start_reading
-- The person says so. A second time changes nothing.
UPDATE settings SET reading = 'due', reading_from = NULL, reading_from_id = NULL, updated_at = app_now()
WHERE user_id = app_user_id() AND reading = 'asks'
RETURNING reading;

-- name: files_to_start
-- What waits to be read, newest first, behind a file that was put to work already.
SELECT f.file_id, f.state, f.version, f.mime_type, coalesce(f.modified_time, 'epoch') AS modified_time
FROM gdrive_files f
WHERE f.user_id = app_user_id() AND f.state = 'queued' AND (CAST(:behind AS timestamptz) IS NULL
    OR (coalesce(f.modified_time, 'epoch'), f.file_id) < (CAST(:behind AS timestamptz), CAST(:behind_id AS text)))
ORDER BY coalesce(f.modified_time, 'epoch') DESC, f.file_id DESC LIMIT :most;

-- name: started_so_far
-- Everything up to this file has been put to work.
UPDATE settings SET reading_from = CAST(:behind AS timestamptz), reading_from_id = CAST(:behind_id AS text)
WHERE user_id = app_user_id() AND reading = 'due';

-- name: started
-- Everything has.
UPDATE settings SET reading = 'begun', reading_from = NULL, reading_from_id = NULL
WHERE user_id = app_user_id() AND reading = 'due';

-- name: listed_by_kind
-- A corpus as it is listed: how many files of which type and ending, in steps of size. Of equal contents the
-- first is `fresh`: the others are read and need no vectors of their own.
WITH listed AS (
    SELECT f.mime_type, ending_of(f.name) AS ending, coalesce(f.size, -1) AS size,
        row_number() OVER (PARTITION BY coalesce(f.sha256_checksum, f.md5_checksum, f.file_id) ORDER BY f.file_id) = 1
            AS fresh,
        f.reason_code IS NOT DISTINCT FROM 'outside_folders' AS outside,
        f.capabilities -> 'canDownload' = 'false' AS closed
    FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.drive_id IS NOT DISTINCT FROM CAST(:drive_id AS text)
        AND f.state NOT IN ('deleted', 'folder')
)
SELECT mime_type, ending, outside, coalesce(closed, false) AS closed, width_bucket(ln(greatest(size, 1)), 0, ln(2) * 52, 104) AS step,
    size < 0 AS unsized, size = 0 AS empty, count(*) AS files, sum(greatest(size, 0))::bigint AS bytes,
    count(*) FILTER (WHERE fresh) AS fresh
FROM listed
GROUP BY 1, 2, 3, 4, 5, 6, 7;

-- name: instance_pace
-- How much this installation understood lately, and in how many seconds.
SELECT files, bytes, seconds FROM instance_pace();

-- name: instance_tokens
-- What this installation's files took that were read once lately, alike ones together.
SELECT mime_type, ending, files, bytes, fresh, embedded_tokens, model_input_tokens, model_output_tokens
FROM instance_tokens();

-- name: forget_forecast
-- One that is asked about is made anew; what was said when reading began stays as it was said.
DELETE FROM forecasts WHERE user_id = app_user_id() AND corpus = :corpus
    AND EXISTS (SELECT FROM settings s WHERE s.user_id = app_user_id() AND s.reading = 'asks');

-- name: save_forecast
-- Every kind of a corpus at once, unless it was said before.
INSERT INTO forecasts (user_id, corpus, kind, files, listed_bytes, expected)
SELECT app_user_id(), CAST(:corpus AS text), r.kind, r.files, r.listed_bytes, r.expected
FROM jsonb_to_recordset(CAST(:kinds AS jsonb)) AS r(kind text, files bigint, listed_bytes bigint, expected jsonb)
WHERE NOT EXISTS (SELECT FROM forecasts f WHERE f.user_id = app_user_id() AND f.corpus = CAST(:corpus AS text));

-- name: forecasts
-- What was said, corpus by corpus.
SELECT corpus, kind, files, listed_bytes, expected, made_at FROM forecasts
WHERE user_id = app_user_id() ORDER BY corpus, kind;

-- name: spent_by_kind
-- What reading took so far, by the same types and endings.
WITH spent AS (
    SELECT c.file_id, sum(c.drive_units) AS drive_units, sum(c.drive_bytes) AS drive_bytes,
        sum(c.ocr_pages) AS ocr_pages, sum(c.embedded_tokens) AS embedded_tokens,
        sum(c.model_input_tokens) AS model_input_tokens, sum(c.model_output_tokens) AS model_output_tokens
    FROM costs c WHERE c.user_id = app_user_id() GROUP BY c.file_id
),
known AS (
    SELECT f.file_id, f.mime_type, ending_of(f.name) AS ending, f.state FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.state <> 'folder'
)
SELECT coalesce(k.mime_type, '') AS mime_type,
    coalesce(k.ending, '') AS ending,
    count(*) FILTER (WHERE k.state IN ('indexed', 'skipped', 'failed')) AS done,
    count(*) FILTER (WHERE k.state = 'indexed') AS indexed,
    coalesce(sum(s.drive_units), 0)::bigint AS drive_units, coalesce(sum(s.drive_bytes), 0)::bigint AS drive_bytes,
    coalesce(sum(s.ocr_pages), 0)::bigint AS ocr_pages, coalesce(sum(s.embedded_tokens), 0)::bigint AS embedded_tokens,
    coalesce(sum(s.model_input_tokens), 0)::bigint AS model_input_tokens,
    coalesce(sum(s.model_output_tokens), 0)::bigint AS model_output_tokens
FROM known k FULL JOIN spent s USING (file_id)
GROUP BY 1, 2;

-- name: reading_since
-- When the first file was claimed and the last one was done, for how long reading took.
SELECT min(j.created_at) AS began_at, (SELECT max(f.state_at) FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.state IN ('indexed', 'skipped', 'failed')) AS last_at
FROM gdrive_jobs j WHERE j.user_id = app_user_id();
