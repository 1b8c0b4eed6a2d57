-- What a person looks at more closely: passages, history, freshness, folders.

-- name: files_by_name
-- A page of files in the order of their names, after a cursor of (name, file_id).
SELECT file_id, name, mime_type, size, state, reason_code, reason, next_try, truncated_at, modified_time, state_at,
    indexed_at, web_view_link, drive_id, parents, lower(name) AS sort_name
FROM gdrive_files
WHERE user_id = app_user_id() AND state <> 'folder'
    AND (CAST(:state AS text) IS NULL AND state <> 'deleted' OR state = CAST(:state AS text))
    AND (CAST(:after AS text) IS NULL OR (lower(name), file_id) > (CAST(:after AS text), CAST(:after_id AS text)))
ORDER BY lower(name), file_id LIMIT :most;

-- name: files_by_size
-- A page of files, the largest first, after a cursor of (size, file_id); what has no size comes last.
SELECT file_id, name, mime_type, size, state, reason_code, reason, next_try, truncated_at, modified_time, state_at,
    indexed_at, web_view_link, drive_id, parents
FROM gdrive_files
WHERE user_id = app_user_id() AND state <> 'folder'
    AND (CAST(:state AS text) IS NULL AND state <> 'deleted' OR state = CAST(:state AS text))
    AND (CAST(:after AS bigint) IS NULL
        OR (coalesce(size, -1), file_id) < (CAST(:after AS bigint), CAST(:after_id AS text)))
ORDER BY coalesce(size, -1) DESC, file_id DESC LIMIT :most;

-- name: files_by_modified
-- A page of files, the newest change in Drive first, after a cursor of (modified_time, file_id).
SELECT file_id, name, mime_type, size, state, reason_code, reason, next_try, truncated_at, modified_time, state_at,
    indexed_at, web_view_link, drive_id, parents
FROM gdrive_files
WHERE user_id = app_user_id() AND state <> 'folder'
    AND (CAST(:state AS text) IS NULL AND state <> 'deleted' OR state = CAST(:state AS text))
    AND (CAST(:after AS timestamptz) IS NULL
        OR (coalesce(modified_time, 'epoch'), file_id) < (CAST(:after AS timestamptz), CAST(:after_id AS text)))
ORDER BY coalesce(modified_time, 'epoch') DESC, file_id DESC LIMIT :most;

-- name: passages_of_file
-- What was read in a file, in its order, after a cursor of (index, ordinal).
SELECT m.index, m.ordinal, m.passage, m.locator
FROM memories m JOIN gdrive_files f ON f.user_id = m.user_id AND f.visible_job = m.job_id
WHERE m.user_id = app_user_id() AND f.file_id = :file_id
    AND (m.index, m.ordinal) > (CAST(:index AS bigint), CAST(:ordinal AS integer))
ORDER BY m.index, m.ordinal LIMIT :most;

-- name: cost_of_file
-- What one file has cost so far, in the services' own units.
SELECT coalesce(sum(drive_units), 0)::bigint AS drive_units, coalesce(sum(drive_bytes), 0)::bigint AS drive_bytes,
    coalesce(sum(ocr_pages), 0)::bigint AS ocr_pages, coalesce(sum(embedded_tokens), 0)::bigint AS embedded_tokens,
    coalesce(sum(model_input_tokens), 0)::bigint AS model_input_tokens,
    coalesce(sum(model_output_tokens), 0)::bigint AS model_output_tokens
FROM costs WHERE user_id = app_user_id() AND file_id = :file_id;

-- name: audit_page
-- What was done with the person's account and files, the newest first, before an entry; of one file or of all.
SELECT a.entry_id, a.at, a.action, a.file_id, f.name, a.revision, a.bytes, a.why, a.outcome
FROM gdrive_audit_log a LEFT JOIN gdrive_files f ON f.user_id = a.user_id AND f.file_id = a.file_id
WHERE a.user_id = app_user_id() AND (CAST(:before AS bigint) IS NULL OR a.entry_id < CAST(:before AS bigint))
    AND (CAST(:file_id AS text) IS NULL OR a.file_id = CAST(:file_id AS text))
ORDER BY a.entry_id DESC LIMIT :most;

-- name: activity_page
-- What happened to the person's files, the newest first, before an event.
SELECT e.event_id, e.at, e.file_id, f.name, e.event, e.detail
FROM file_events e LEFT JOIN gdrive_files f ON f.user_id = e.user_id AND f.file_id = e.file_id
WHERE e.user_id = app_user_id() AND (CAST(:before AS bigint) IS NULL OR e.event_id < CAST(:before AS bigint))
ORDER BY e.event_id DESC LIMIT :most;

-- name: freshness_by_day
-- How long changes took into search, by the day on which they were understood: the half and the slowest twentieth. What
-- changed before the person connected waited for them and not for us.
SELECT (indexed_at AT TIME ZONE 'UTC')::date AS day, count(*) AS changes,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM indexed_at - changed_at)) AS half,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM indexed_at - changed_at)) AS slowest
FROM gdrive_files
WHERE user_id = app_user_id() AND state = 'indexed' AND indexed_at >= changed_at
    AND changed_at >= (SELECT u.created_at FROM users u WHERE u.user_id = app_user_id())
    AND indexed_at >= app_now() - interval '30 days'
GROUP BY 1 ORDER BY 1;

-- name: folders_in
-- The folders in a folder by their names; without one, those in none that is known. Each says whether it has any itself.
SELECT f.file_id AS id, f.name, f.drive_id, EXISTS (
    SELECT FROM gdrive_files c WHERE c.user_id = f.user_id AND c.state = 'folder' AND c.parents @> ARRAY[f.file_id]
        AND c.file_id <> f.file_id) AS has_folders
FROM gdrive_files f
WHERE f.user_id = app_user_id() AND f.state = 'folder' AND CASE WHEN CAST(:parent AS text) IS NOT NULL
    THEN f.parents @> ARRAY[CAST(:parent AS text)] AND f.file_id <> CAST(:parent AS text)
    ELSE f.listed AND NOT EXISTS (SELECT FROM gdrive_files p
        WHERE p.user_id = f.user_id AND p.file_id = ANY (f.parents) AND p.state = 'folder' AND p.listed) END
ORDER BY lower(f.name), f.file_id LIMIT :most;

-- name: grant_in_words
-- What the person has allowed, since when, and until when where Google limits it.
SELECT u.created_at, max(a.at) FILTER (WHERE a.action IN ('connect', 'reconnect')) AS granted_at,
    count(*) FILTER (WHERE a.action = 'read') AS reads, max(a.at) FILTER (WHERE a.action = 'read') AS last_read_at
FROM users u LEFT JOIN gdrive_audit_log a USING (user_id)
WHERE u.user_id = app_user_id() GROUP BY u.user_id;

-- name: last_work
-- When each step was last taken for this person.
SELECT
    (SELECT max(latest) FROM tallies WHERE user_id = app_user_id() AND what = 'seen') AS listed_at,
    (SELECT max(latest) FROM tallies WHERE user_id = app_user_id() AND what = 'bytes') AS read_at,
    (SELECT max(latest) FROM tallies WHERE user_id = app_user_id() AND what = 'chunks') AS understood_at,
    (SELECT max(updated_at) FROM gdrive_webhooks WHERE user_id = app_user_id()) AS channel_at,
    (SELECT max(finished_at) FROM gdrive_censuses WHERE user_id = app_user_id()) AS compared_at,
    (SELECT coalesce(sum(count), 0)::bigint FROM tallies WHERE user_id = app_user_id() AND state = 'queued') AS queued,
    (SELECT extract(epoch FROM app_now() - min(state_at)) FROM gdrive_files
        WHERE user_id = app_user_id() AND state = 'queued') AS queued_for,
    (SELECT coalesce(sum(count), 0)::bigint FROM tallies WHERE user_id = app_user_id() AND state = 'waiting') AS waiting;
