-- What one person sees.

-- name: status_totals
-- How much there is of everything, from what is counted as it changes.
SELECT
    coalesce(sum(count) FILTER (WHERE state NOT IN ('folder', 'deleted')), 0)::bigint AS listed,
    coalesce(sum(count) FILTER (WHERE state = 'indexed'), 0)::bigint AS indexed,
    0::bigint AS unchanged,
    coalesce(sum(count) FILTER (WHERE state = 'skipped'), 0)::bigint AS skipped,
    coalesce(sum(count) FILTER (WHERE state = 'failed'), 0)::bigint AS failed,
    coalesce(sum(count) FILTER (WHERE state = 'deleted'), 0)::bigint AS deleted,
    coalesce(sum(count) FILTER (WHERE state = 'queued'), 0)::bigint AS queued,
    coalesce(sum(count) FILTER (WHERE state = 'processing'), 0)::bigint AS processing,
    coalesce(sum(count) FILTER (WHERE state = 'waiting'), 0)::bigint AS waiting,
    coalesce(sum(amount) FILTER (WHERE state NOT IN ('folder', 'deleted')), 0)::bigint AS listed_bytes,
    coalesce(sum(amount) FILTER (WHERE state IN ('queued', 'processing')), 0)::bigint AS bytes_to_go,
    max(latest) FILTER (WHERE what = 'files') AS last_indexed_at,
    coalesce(sum(amount) FILTER (WHERE what = 'bytes'), 0)::bigint AS bytes,
    coalesce(sum(count) FILTER (WHERE what = 'chunks'), 0)::bigint AS chunks,
    coalesce(sum(amount) FILTER (WHERE what = 'chunks'), 0)::bigint AS passages
FROM tallies WHERE user_id = app_user_id();

-- name: status_counts
-- The same since a moment, counted row by row. Every listed file is in exactly one state; `unchanged` were indexed
-- before `since` and still are.
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
    coalesce(sum(size) FILTER (WHERE state IN ('queued', 'processing')), 0)::bigint AS bytes_to_go,
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
-- Why files are skipped, failed or waiting, most frequent first, with what one of them is told; counted row by row.
SELECT reason_code AS code, min(reason) AS example, count(*) AS files FROM gdrive_files
WHERE user_id = app_user_id() AND state IN ('skipped', 'failed', 'waiting')
GROUP BY reason_code ORDER BY files DESC, code;

-- name: status_totals_of_reasons
-- The same without what is told, from what is counted as it changes.
SELECT reason_code AS code, sum(count)::bigint AS files FROM tallies
WHERE user_id = app_user_id() AND state IN ('skipped', 'failed', 'waiting')
GROUP BY reason_code HAVING sum(count) > 0 ORDER BY files DESC, code;

-- name: files_page
-- A page of files, newest state first, after a cursor of (state_at, file_id): the first ones of each state, which its
-- index has in order, and of these the first.
SELECT f.* FROM unnest(CASE WHEN CAST(:state AS text) IS NULL
        THEN ARRAY['queued', 'processing', 'waiting', 'indexed', 'skipped', 'failed']
        ELSE ARRAY[nullif(CAST(:state AS text), 'folder')] END) AS of(state)
CROSS JOIN LATERAL (
    SELECT file_id, name, mime_type, size, state, reason_code, reason, next_try, truncated_at, modified_time, state_at,
        indexed_at, web_view_link, drive_id, parents
    FROM gdrive_files
    WHERE user_id = app_user_id() AND gdrive_files.state = of.state
        AND (CAST(:before AS timestamptz) IS NULL OR state_at <= CAST(:before AS timestamptz)
            AND (state_at, file_id) < (CAST(:before AS timestamptz), CAST(:before_id AS text)))
    ORDER BY state_at DESC, file_id DESC LIMIT :most
) AS f
ORDER BY f.state_at DESC, f.file_id DESC LIMIT :most;

-- name: file
-- One file with everything we know about it.
SELECT f.file_id, f.name, f.mime_type, f.size, f.state, f.reason_code, f.reason, f.next_try, f.truncated_at,
    f.modified_time, f.created_time, f.state_at, f.indexed_at, f.announced_at, f.first_seen_at, f.seen_at, f.deleted_at,
    f.changed_at, f.found_at,
    f.web_view_link, f.drive_id, f.parents, f.version, f.owners, f.content_key, f.wanted_job, f.current_job,
    (SELECT count(*) FROM memories m WHERE m.user_id = f.user_id AND m.job_id = f.visible_job) AS passages
FROM gdrive_files f WHERE f.user_id = app_user_id() AND f.file_id = :file_id;

-- name: file_relations
-- How those who are named in a file are related, as its passages state it, most often first.
SELECT s.kind AS subject_kind, s.name AS subject, r.predicate, o.kind AS object_kind, o.name AS object, count(*) AS times
FROM relations r
JOIN gdrive_files f ON f.user_id = r.user_id AND f.file_id = r.file_id AND f.visible_job = r.job_id
JOIN entities s ON s.user_id = r.user_id AND s.job_id = r.job_id AND s.index = r.index AND s.ordinal = r.ordinal
    AND s.kind = r.subject_kind AND s.starts = r.subject_starts AND s.ends = r.subject_ends
JOIN entities o ON o.user_id = r.user_id AND o.job_id = r.job_id AND o.index = r.index AND o.ordinal = r.ordinal
    AND o.kind = r.object_kind AND o.starts = r.object_starts AND o.ends = r.object_ends
WHERE r.user_id = app_user_id() AND r.file_id = :file_id
GROUP BY s.kind, s.name, r.predicate, o.kind, o.name ORDER BY times DESC, subject, r.predicate, object LIMIT 100;

-- name: entities_page
-- Who and what is named anywhere, each once however it is spelled: in the most files first, after a cursor of (files,
-- kind, key). Of each a few of its files, the newest, and how it is spelled there.
WITH in_file AS (
    SELECT e.kind, e.key, e.file_id, max(f.modified_time) AS modified_time, count(*) AS times,
        min(e.name) AS name
    FROM entities e JOIN gdrive_files f ON f.user_id = e.user_id AND f.visible_job = e.job_id
    WHERE e.user_id = app_user_id() AND (CAST(:kind AS text) IS NULL OR e.kind = CAST(:kind AS text))
        AND (CAST(:query AS text) IS NULL OR position(entity_key(CAST(:query AS text)) IN e.key) > 0)
    GROUP BY e.kind, e.key, e.file_id
),
merged AS (
    SELECT kind, key, count(*) AS files, sum(times)::bigint AS times FROM in_file GROUP BY kind, key
),
page AS (
    SELECT kind, key, files, times FROM merged
    WHERE CAST(:files AS bigint) IS NULL OR files < CAST(:files AS bigint)
        OR files = CAST(:files AS bigint) AND (kind, key) > (CAST(:after_kind AS text), CAST(:after_key AS text))
    ORDER BY files DESC, kind, key LIMIT :most
),
places AS (
    SELECT kind, key, file_id, name, row_number() OVER (
        PARTITION BY kind, key ORDER BY modified_time DESC NULLS LAST, file_id) AS place
    FROM in_file JOIN page USING (kind, key)
)
SELECT p.kind, p.key, p.files, p.times,
    (array_agg(w.name ORDER BY w.place))[1] AS name,
    array_agg(w.file_id ORDER BY w.place) FILTER (WHERE w.place <= 5) AS file_ids
FROM page p JOIN places w USING (kind, key)
GROUP BY p.kind, p.key, p.files, p.times ORDER BY p.files DESC, p.kind, p.key;

-- name: path
-- The names of the folders above a file, the outermost first, as far as they are known.
WITH RECURSIVE up AS (
    SELECT f.parents[1] AS folder, 1 AS height FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.file_id = :file_id
    UNION ALL
    SELECT f.parents[1], up.height + 1 FROM up JOIN gdrive_files f ON f.user_id = app_user_id() AND f.file_id = up.folder
    WHERE up.height < 100
)
SELECT f.file_id, f.name FROM up JOIN gdrive_files f ON f.user_id = app_user_id() AND f.file_id = up.folder
ORDER BY up.height DESC;

-- name: selected_folders
-- Which folders the person selected, with their names where we know them, and whether the files are sorted by them yet.
SELECT s.folders_due, chosen.id, f.name, f.file_id IS NOT NULL OR EXISTS (
    SELECT FROM gdrive_files d WHERE d.user_id = s.user_id AND d.drive_id = chosen.id) AS known
FROM settings s LEFT JOIN unnest(s.selected_folders) WITH ORDINALITY AS chosen(id, place) ON true
LEFT JOIN gdrive_files f ON f.user_id = s.user_id AND f.file_id = chosen.id
WHERE s.user_id = app_user_id()
ORDER BY chosen.place;

-- name: stand_still
-- Nobody writes for this person until the transaction ends, so that nothing is written by the old selection afterwards.
SELECT stand_still() AS people;

-- name: select_folders
-- Other folders than before. The lister sorts the files by them.
INSERT INTO settings AS s (user_id, selected_folders, folders_due)
VALUES (app_user_id(), CAST(:folders AS text[]), true)
ON CONFLICT (user_id) DO UPDATE SET selected_folders = excluded.selected_folders, updated_at = app_now(),
    folders_due = s.folders_due OR s.selected_folders IS DISTINCT FROM excluded.selected_folders;

-- name: censuses
-- What the last comparison of each corpus with Drive found, and how much of it is right by now.
SELECT c.corpus, c.began_at, c.finished_at, c.compared, c.incomplete,
    count(*) FILTER (WHERE d.finding = 'missing') AS missing,
    count(*) FILTER (WHERE d.finding = 'stale') AS stale,
    count(*) FILTER (WHERE d.finding = 'surplus') AS surplus,
    count(*) FILTER (WHERE CASE WHEN d.finding = 'surplus' THEN f.file_id IS NULL OR f.state = 'deleted'
        ELSE f.state IN ('indexed', 'skipped', 'folder') END) AS repaired
FROM gdrive_censuses c
LEFT JOIN gdrive_census_findings d ON d.user_id = c.user_id AND d.corpus = c.corpus
LEFT JOIN gdrive_files f ON f.user_id = d.user_id AND f.file_id = d.file_id
WHERE c.user_id = app_user_id()
GROUP BY c.user_id, c.corpus ORDER BY c.corpus;

-- name: channel_totals
-- How many corpora of everybody are announced, are not, and had a silent channel within a day, in numbers only.
SELECT kind, corpora FROM channel_totals();

-- name: census_totals
-- What the last censuses of everybody found, in numbers only.
SELECT finding, files FROM census_totals();

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
SELECT file_id, job_id, index, ordinal, passage, locator, score, matched
FROM search_passages(CAST(:query AS text), CAST(:vector AS halfvec(768)), CAST(:model AS text), CAST(:most AS integer),
    parts => CAST(:parts AS text), run => CAST(:run AS text), kinds => CAST(:kinds AS text[]),
    folder => CAST(:folder AS text), owner => CAST(:owner AS text), since => CAST(:since AS timestamptz),
    until => CAST(:until AS timestamptz), drive => CAST(:drive AS text), entity_kind => CAST(:entity_kind AS text),
    entity_name => CAST(:entity_name AS text));

-- name: folder_known
-- Is this a folder of the person, or one that something of theirs lies in?
SELECT EXISTS (SELECT FROM gdrive_files f WHERE f.user_id = app_user_id() AND f.file_id = :folder AND f.state = 'folder')
    OR EXISTS (SELECT FROM gdrive_files f WHERE f.user_id = app_user_id() AND f.parents @> ARRAY[CAST(:folder AS text)])
    AS known;

-- name: entities_of_passages
-- Who and what is named in these passages, one for every kind and name however it is written, most often first.
SELECT e.kind, min(e.name) AS name, count(*) AS count
FROM unnest(CAST(:job_ids AS uuid[]), CAST(:indexes AS bigint[]), CAST(:ordinals AS integer[])) AS p(job_id, index, ordinal)
JOIN entities e ON e.job_id = p.job_id AND e.index = p.index AND e.ordinal = p.ordinal
WHERE e.user_id = app_user_id()
GROUP BY e.kind, e.key ORDER BY count DESC, e.kind, name LIMIT 20;

-- name: passage
-- Is there such a passage, and may it be seen?
SELECT m.ordinal FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
WHERE m.user_id = app_user_id() AND m.file_id = :file_id AND m.index = :index AND m.ordinal = :ordinal;

-- name: similar
-- Places of other files that are nearest to a passage.
SELECT file_id, job_id, index, ordinal, passage, locator, score
FROM similar_passages(CAST(:file_id AS text), CAST(:index AS bigint), CAST(:ordinal AS integer), CAST(:most AS integer));

-- name: channels
-- Which corpora Drive announces changes of, until when, and when a channel of theirs was last found silent.
SELECT w.corpus, w.state, w.expires_at, (SELECT max(s.silent_at) FROM gdrive_webhooks s
    WHERE s.user_id = w.user_id AND s.corpus = w.corpus) AS silent_at
FROM gdrive_webhooks w
WHERE w.user_id = app_user_id() AND w.state IN ('pending', 'active', 'unsupported')
ORDER BY w.corpus, w.created_at DESC;

-- name: clock
-- The database's clock, which is everybody's.
SELECT app_now() AS now;

-- name: status_recent
-- What the last minute brought: the only speed that is true now.
SELECT
    count(*) AS files,
    coalesce(sum(size) FILTER (WHERE state = 'indexed'), 0)::bigint AS bytes,
    coalesce((SELECT sum(passages) FROM gdrive_chunks
        WHERE user_id = app_user_id() AND recorded_at >= app_now() - interval '1 minute'), 0)::bigint AS passages
FROM gdrive_files
WHERE user_id = app_user_id() AND state IN ('indexed', 'skipped', 'failed')
    AND state_at >= app_now() - interval '1 minute';

-- name: status_pace
-- How fast files have been done in the last ten minutes, or since the first of them.
SELECT count(*) AS files, coalesce(sum(size) FILTER (WHERE state = 'indexed'), 0)::bigint AS bytes,
    coalesce(extract(epoch FROM app_now() - min(state_at)), 0)::double precision AS seconds
FROM gdrive_files
WHERE user_id = app_user_id() AND state IN ('indexed', 'skipped', 'failed')
    AND state_at >= app_now() - interval '10 minutes';

-- name: receipt
-- What an erasure left behind: that it happened. Whoever holds the id may see it; it says nothing about whom.
SELECT erased_at, files, passages FROM receipts WHERE receipt_id = CAST(:receipt_id AS uuid);
