-- Files as Drive describes them, and the state each of them is in.

-- name: note_files
-- A page of a listing or of the change log. New and changed content becomes `queued`, whose names are searchable at
-- once; a mere rename or move only changes what we know. A file that was skipped is looked at again when what we may
-- do with it has changed. An older version never overwrites a newer one.
INSERT INTO gdrive_files AS f (
    user_id, file_id, drive_id, name, mime_type, size, md5_checksum, sha256_checksum, head_revision_id, version,
    content_key, created_time, modified_time, parents, owned_by_me, owners, web_view_link, resource_key,
    shortcut_target_id, capabilities, priority, state, announced_at)
SELECT app_user_id(), r.file_id, r.drive_id, r.name, r.mime_type, r.size, r.md5_checksum, r.sha256_checksum,
    r.head_revision_id, r.version, r.content_key, r.created_time, r.modified_time, coalesce(r.parents, '{}'),
    r.owned_by_me, r.owners, r.web_view_link, r.resource_key, r.shortcut_target_id, r.capabilities,
    coalesce(r.priority, 0), CASE WHEN r.is_folder THEN 'folder' ELSE 'queued' END,
    to_timestamp(nullif(CAST(:announced_ms AS bigint), 0) / 1000.0)
FROM jsonb_to_recordset(CAST(:files AS jsonb)) AS r(
    file_id text, drive_id text, name text, mime_type text, size bigint, md5_checksum text, sha256_checksum text,
    head_revision_id text, version bigint, content_key text, created_time timestamptz, modified_time timestamptz,
    parents text[], owned_by_me boolean, owners jsonb, web_view_link text, resource_key text, shortcut_target_id text,
    capabilities jsonb, priority integer, is_folder boolean)
ON CONFLICT (user_id, file_id) DO UPDATE SET
    drive_id = excluded.drive_id, name = excluded.name, mime_type = excluded.mime_type, size = excluded.size,
    md5_checksum = excluded.md5_checksum, sha256_checksum = excluded.sha256_checksum,
    head_revision_id = excluded.head_revision_id, version = excluded.version, content_key = excluded.content_key,
    created_time = excluded.created_time, modified_time = excluded.modified_time, parents = excluded.parents,
    owned_by_me = excluded.owned_by_me, owners = excluded.owners, web_view_link = excluded.web_view_link,
    resource_key = excluded.resource_key, shortcut_target_id = excluded.shortcut_target_id,
    capabilities = excluded.capabilities, seen_at = app_now(), listed = true,
    announced_at = coalesce(excluded.announced_at, f.announced_at),
    state = CASE
        WHEN excluded.state = 'folder' THEN 'folder'
        WHEN f.state IN ('deleted', 'folder') OR f.content_key IS DISTINCT FROM excluded.content_key
            OR (f.state = 'skipped' AND f.capabilities IS DISTINCT FROM excluded.capabilities) THEN 'queued'
        ELSE f.state END,
    state_at = CASE
        WHEN excluded.state = 'folder' OR f.state IN ('deleted', 'folder')
            OR f.content_key IS DISTINCT FROM excluded.content_key
            OR (f.state = 'skipped' AND f.capabilities IS DISTINCT FROM excluded.capabilities) THEN app_now()
        ELSE f.state_at END
WHERE excluded.version >= f.version
RETURNING f.file_id, f.state, f.version;

-- name: live_files_of
-- Which of these files do we believe to be there? A removal of anything else needs no work.
SELECT file_id FROM gdrive_files WHERE user_id = app_user_id() AND file_id = ANY (CAST(:file_ids AS text[]))
    AND state <> 'deleted';

-- name: files_not_seen_since
-- After a whole listing: what it did not show any more is a candidate for removal; Drive is asked about each.
SELECT file_id FROM gdrive_files
WHERE user_id = app_user_id() AND state NOT IN ('deleted') AND seen_at < :since
    AND drive_id IS NOT DISTINCT FROM CAST(:drive_id AS text);

-- name: take_ticket
-- Taken before Drive is asked about a file; only the holder of the newest ticket may write the answer.
INSERT INTO gdrive_files AS f (user_id, file_id, ask) VALUES (app_user_id(), :file_id, 1)
ON CONFLICT (user_id, file_id) DO UPDATE SET ask = f.ask + 1
RETURNING f.ask, f.state, f.wanted_job, f.current_job, f.resource_key;

-- name: note_target
-- Where a shortcut leads: a file that Drive does not list for this person. One that we know is left as it is.
INSERT INTO gdrive_files AS f (user_id, file_id, name, mime_type, resource_key, listed)
VALUES (app_user_id(), :file_id, :title, :mime_type, :resource_key, false)
ON CONFLICT (user_id, file_id) DO UPDATE SET name = excluded.name, mime_type = excluded.mime_type,
    resource_key = excluded.resource_key, listed = false, state = 'queued', state_at = app_now()
WHERE f.state = 'deleted'
RETURNING f.file_id;

-- name: forget_strays
-- What only a shortcut led to is gone with the last shortcut. A new ticket makes answers that are under way stale.
WITH strays AS (
    SELECT t.user_id, t.file_id FROM gdrive_files t
    WHERE t.user_id = app_user_id() AND NOT t.listed AND t.state <> 'deleted' AND NOT EXISTS (
        SELECT FROM gdrive_files s
        WHERE s.user_id = t.user_id AND s.shortcut_target_id = t.file_id AND s.state <> 'deleted')
    FOR UPDATE
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM strays t
    WHERE j.user_id = t.user_id AND j.file_id = t.file_id AND j.state IN ('streaming', 'streamed', 'waiting')
)
UPDATE gdrive_files f SET state = 'deleted', reason_code = 'gone', ask = f.ask + 1, state_at = app_now(),
    reason = 'The shortcut that led to this file is gone.', deleted_at = app_now(), next_try = NULL
FROM strays t
WHERE f.user_id = t.user_id AND f.file_id = t.file_id
RETURNING f.file_id;

-- name: record_answer
-- What Drive said about one file, unless somebody asked after us. Returns nothing for a stale ticket.
UPDATE gdrive_files AS f SET
    drive_id = r.drive_id, name = r.name, mime_type = r.mime_type, size = r.size, md5_checksum = r.md5_checksum,
    sha256_checksum = r.sha256_checksum, head_revision_id = r.head_revision_id,
    version = greatest(f.version, r.version), content_key = r.content_key, created_time = r.created_time,
    modified_time = r.modified_time, parents = coalesce(r.parents, '{}'), owned_by_me = r.owned_by_me,
    owners = r.owners, web_view_link = r.web_view_link, resource_key = r.resource_key,
    shortcut_target_id = r.shortcut_target_id, capabilities = r.capabilities, seen_at = app_now()
FROM jsonb_to_record(CAST(:file AS jsonb)) AS r(
    file_id text, drive_id text, name text, mime_type text, size bigint, md5_checksum text, sha256_checksum text,
    head_revision_id text, version bigint, content_key text, created_time timestamptz, modified_time timestamptz,
    parents text[], owned_by_me boolean, owners jsonb, web_view_link text, resource_key text, shortcut_target_id text,
    capabilities jsonb)
WHERE f.user_id = app_user_id() AND f.file_id = :file_id AND f.ask = :ticket
RETURNING f.state, f.wanted_job, f.current_job;

-- name: mark_file
-- A state with its reason, for a file that needs no job (a folder, a shortcut, a form) or cannot have one yet. Unless
-- it waits, work in progress on it ends, so that no late chunk brings it back. What is skipped wants no job either: the
-- passages of what it held before are purged.
WITH mine AS (
    SELECT user_id, file_id FROM gdrive_files
    WHERE user_id = app_user_id() AND file_id = :file_id AND ask = :ticket FOR UPDATE
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM mine
    WHERE j.user_id = mine.user_id AND j.file_id = mine.file_id AND j.state IN ('streaming', 'streamed', 'waiting')
        AND CAST(:state AS text) <> 'waiting'
)
UPDATE gdrive_files f SET state = CAST(:state AS text), reason_code = :code, reason = :reason, state_at = app_now(),
    next_try = app_now() + make_interval(secs => CAST(:retry_after AS double precision)),
    current_job = CASE WHEN CAST(:state AS text) = 'skipped' THEN NULL ELSE f.current_job END,
    wanted_job = CASE WHEN CAST(:state AS text) = 'skipped' THEN NULL ELSE f.wanted_job END
FROM mine
WHERE f.user_id = mine.user_id AND f.file_id = mine.file_id
RETURNING f.file_id;

-- name: bury_file
-- The caretaker's last word on a file whose message could not be handled: failed, with a next try. A dead chunk of a
-- revision that nobody wants any more says nothing about the file.
UPDATE gdrive_files SET state = 'failed', reason_code = :code, reason = :reason, state_at = app_now(),
    next_try = app_now() + make_interval(secs => CAST(:retry_after AS double precision))
WHERE user_id = :user_id AND file_id = :file_id AND state IN ('queued', 'processing', 'waiting', 'failed')
    AND (CAST(:job_id AS uuid) IS NULL OR wanted_job = CAST(:job_id AS uuid))
RETURNING file_id;

-- name: tombstone
-- Drive no longer shows this file to this person. Its passages are invisible from this transaction on; they are kept
-- for a while, so that a file taken out of the bin again needs no new embeddings.
-- Work in progress on it ends, so that no late chunk brings it back.
WITH mine AS (
    SELECT user_id, file_id FROM gdrive_files
    WHERE user_id = app_user_id() AND file_id = :file_id AND ask = :ticket AND state <> 'deleted' FOR UPDATE
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM mine
    WHERE j.user_id = mine.user_id AND j.file_id = mine.file_id AND j.state IN ('streaming', 'streamed', 'waiting')
)
UPDATE gdrive_files f SET state = 'deleted', reason_code = :code, reason = :reason, state_at = app_now(),
    deleted_at = app_now(), next_try = NULL
FROM mine
WHERE f.user_id = mine.user_id AND f.file_id = mine.file_id
RETURNING f.file_id;

-- name: forget_unseen
-- A file that was never listed and does not exist leaves no row behind.
DELETE FROM gdrive_files
WHERE user_id = app_user_id() AND file_id = :file_id AND ask = :ticket AND mime_type = '' AND wanted_job IS NULL;

-- name: recent_events
-- How often something happened to the file in the last quarter of an hour.
SELECT count(*) AS times FROM file_events
WHERE user_id = app_user_id() AND file_id = :file_id AND event = :event AND at > app_now() - interval '15 minutes';

-- name: note_event
-- One entry in the file's timeline.
INSERT INTO file_events (user_id, file_id, event, detail) VALUES (app_user_id(), :file_id, :event, :detail);

-- name: add_cost
-- What one step cost, in the services' own units.
INSERT INTO costs AS c (user_id, file_id, drive_units, drive_bytes, ocr_pages, embedded_tokens, model_tokens)
VALUES (app_user_id(), :file_id, :drive_units, :drive_bytes, :ocr_pages, :embedded_tokens, :model_tokens)
ON CONFLICT (user_id, file_id, day) DO UPDATE SET
    drive_units = c.drive_units + excluded.drive_units, drive_bytes = c.drive_bytes + excluded.drive_bytes,
    ocr_pages = c.ocr_pages + excluded.ocr_pages, embedded_tokens = c.embedded_tokens + excluded.embedded_tokens,
    model_tokens = c.model_tokens + excluded.model_tokens;
