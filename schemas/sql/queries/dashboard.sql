-- What one person sees.

-- name: status_counts
-- Every listed file is in exactly one state; `unchanged` were indexed before `since` and still are.
SELECT
    count(*) FILTER (WHERE state NOT IN ('folder', 'deleted')) AS listed,
    count(*) FILTER (WHERE state = 'indexed' AND indexed_at >= CAST(:since AS timestamptz)) AS indexed,
    count(*) FILTER (WHERE state = 'indexed' AND indexed_at < CAST(:since AS timestamptz)) AS unchanged,
    count(*) FILTER (WHERE state = 'skipped') AS skipped,
    count(*) FILTER (WHERE state = 'failed') AS failed,
    count(*) FILTER (WHERE state = 'deleted' AND deleted_at >= CAST(:since AS timestamptz)) AS deleted,
    count(*) FILTER (WHERE state = 'queued') AS queued,
    count(*) FILTER (WHERE state = 'processing') AS processing,
    count(*) FILTER (WHERE state = 'waiting') AS waiting,
    coalesce(sum(size) FILTER (WHERE state NOT IN ('folder', 'deleted')), 0)::bigint AS listed_bytes,
    max(indexed_at) AS last_indexed_at
FROM gdrive_files WHERE user_id = app_user_id();

-- name: status_work
-- How much has been read and understood since a moment.
SELECT
    coalesce((SELECT sum(bytes_read) FROM gdrive_jobs
        WHERE user_id = app_user_id() AND updated_at >= CAST(:since AS timestamptz)), 0)::bigint AS bytes,
    (SELECT count(*) FROM gdrive_chunks
        WHERE user_id = app_user_id() AND recorded_at >= CAST(:since AS timestamptz)) AS chunks,
    coalesce((SELECT sum(passages) FROM gdrive_chunks
        WHERE user_id = app_user_id() AND recorded_at >= CAST(:since AS timestamptz)), 0)::bigint AS passages;

-- name: status_reasons
-- Why files are skipped, failed or waiting, most frequent first.
SELECT reason_code AS code, min(reason) AS example, count(*) AS files FROM gdrive_files
WHERE user_id = app_user_id() AND state IN ('skipped', 'failed', 'waiting')
GROUP BY reason_code ORDER BY files DESC, code;

-- name: files_page
-- A page of files, newest state first, after a cursor of (state_at, file_id).
SELECT file_id, name, mime_type, size, state, reason_code, reason, next_try, truncated_at, modified_time, state_at,
    indexed_at, web_view_link, drive_id, parents
FROM gdrive_files
WHERE user_id = app_user_id() AND state <> 'folder'
    AND (CAST(:state AS text) IS NULL AND state <> 'deleted' OR state = CAST(:state AS text))
    AND (CAST(:before AS timestamptz) IS NULL
        OR (state_at, file_id) < (CAST(:before AS timestamptz), CAST(:before_id AS text)))
ORDER BY state_at DESC, file_id DESC LIMIT :most;

-- name: file
-- One file with everything we know about it.
SELECT f.file_id, f.name, f.mime_type, f.size, f.state, f.reason_code, f.reason, f.next_try, f.truncated_at,
    f.modified_time, f.created_time, f.state_at, f.indexed_at, f.announced_at, f.first_seen_at, f.seen_at, f.deleted_at,
    f.web_view_link, f.drive_id, f.parents, f.version, f.owners, f.content_key, f.wanted_job, f.current_job,
    (SELECT count(*) FROM memories m WHERE m.user_id = f.user_id AND m.job_id = f.visible_job) AS passages
FROM gdrive_files f WHERE f.user_id = app_user_id() AND f.file_id = :file_id;

-- name: files_by_id
-- Names and links of the files that a search found.
SELECT file_id, name, mime_type, state, web_view_link, modified_time, drive_id FROM gdrive_files
WHERE user_id = app_user_id() AND file_id = ANY (CAST(:file_ids AS text[]));

-- name: file_events
-- The file's timeline, newest first.
SELECT at, event, detail FROM file_events
WHERE user_id = app_user_id() AND file_id = :file_id ORDER BY event_id DESC LIMIT 100;

-- name: file_entities
-- Who and what is named in a file, most often first.
SELECT e.kind, e.name, count(*) AS times FROM entities e JOIN gdrive_files f ON f.user_id = e.user_id AND f.file_id = e.file_id
WHERE e.user_id = app_user_id() AND e.file_id = :file_id AND e.job_id = f.visible_job
GROUP BY e.kind, e.name ORDER BY times DESC, e.kind, e.name LIMIT 100;

-- name: search
-- Passages and file names, best first.
SELECT file_id, index, ordinal, passage, locator, score, matched
FROM search_passages(CAST(:query AS text), CAST(:vector AS halfvec(768)), CAST(:model AS text), CAST(:most AS integer));

-- name: channels
-- Which corpora Drive announces changes of, and until when.
SELECT corpus, state, expires_at FROM gdrive_webhooks
WHERE user_id = app_user_id() AND state IN ('pending', 'active', 'unsupported') ORDER BY corpus, created_at DESC;

-- name: clock
-- The database's clock, which is everybody's.
SELECT app_now() AS now;

-- name: status_recent
-- What the last minute brought: the only speed that is true now.
SELECT
    count(*) FILTER (WHERE state IN ('indexed', 'skipped', 'failed')) AS files,
    coalesce(sum(size) FILTER (WHERE state = 'indexed'), 0)::bigint AS bytes,
    coalesce((SELECT sum(passages) FROM gdrive_chunks
        WHERE user_id = app_user_id() AND recorded_at >= app_now() - interval '1 minute'), 0)::bigint AS passages
FROM gdrive_files WHERE user_id = app_user_id() AND state_at >= app_now() - interval '1 minute';

-- name: receipt
-- What an erasure left behind: that it happened. Whoever holds the id may see it; it says nothing about whom.
SELECT erased_at, files, passages FROM receipts WHERE receipt_id = CAST(:receipt_id AS uuid);
