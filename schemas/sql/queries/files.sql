-- Files as Drive describes them, and the state each of them is in.

-- name: note_files
-- A page of a listing or of the change log. New and changed content becomes `queued`, whose names are searchable at
-- once; a mere rename or move only changes what we know. A file that was skipped is looked at again when what we may
-- do with it has changed, or when it lies outside the selected folders no longer; one that lies outside leaves search in
-- this transaction. Folders are noted before what lies in them. An older version never overwrites a newer one. Says
-- what was known of each before.
WITH told AS (
    SELECT r.*, CASE WHEN NOT r.is_folder AND EXISTS (
            SELECT FROM settings WHERE user_id = app_user_id() AND selected_folders <> '{}')
        AND outside_selection(r.file_id, r.drive_id, coalesce(r.parents, '{}')) THEN 'outside_folders' END AS outside
    FROM jsonb_to_recordset(CAST(:files AS jsonb)) AS r(
        file_id text, drive_id text, name text, mime_type text, size bigint, md5_checksum text, sha256_checksum text,
        head_revision_id text, version bigint, content_key text, created_time timestamptz, modified_time timestamptz,
        parents text[], owned_by_me boolean, owners jsonb, web_view_link text, resource_key text,
        shortcut_target_id text, capabilities jsonb, priority integer, is_folder boolean, changed_at timestamptz)
),
known AS MATERIALIZED (
    SELECT f.file_id, f.state, f.reason_code, f.parents FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.file_id IN (SELECT file_id FROM told)
),
noted AS (
    INSERT INTO gdrive_files AS f (
        user_id, file_id, drive_id, name, mime_type, size, md5_checksum, sha256_checksum, head_revision_id, version,
        content_key, created_time, modified_time, parents, owned_by_me, owners, web_view_link, resource_key,
        shortcut_target_id, capabilities, priority, state, reason_code, reason, announced_at, changed_at, found_at,
        listed)
    SELECT app_user_id(), r.file_id, r.drive_id, r.name, r.mime_type, r.size, r.md5_checksum, r.sha256_checksum,
        r.head_revision_id, r.version, r.content_key, r.created_time, r.modified_time, coalesce(r.parents, '{}'),
        r.owned_by_me, r.owners, r.web_view_link, r.resource_key, r.shortcut_target_id, r.capabilities,
        coalesce(r.priority, 0),
        CASE WHEN r.is_folder THEN 'folder' WHEN r.outside IS NOT NULL THEN 'skipped' ELSE 'queued' END,
        r.outside, CASE WHEN r.outside IS NOT NULL THEN 'It lies outside the folders that you selected.' END,
        to_timestamp(nullif(CAST(:announced_ms AS bigint), 0) / 1000.0), coalesce(r.changed_at, r.modified_time),
        app_now(), CAST(:listed AS boolean)
    FROM told r
    ON CONFLICT (user_id, file_id) DO UPDATE SET
        drive_id = excluded.drive_id, name = excluded.name, mime_type = excluded.mime_type, size = excluded.size,
        md5_checksum = excluded.md5_checksum, sha256_checksum = excluded.sha256_checksum,
        head_revision_id = excluded.head_revision_id, version = excluded.version, content_key = excluded.content_key,
        created_time = excluded.created_time, modified_time = excluded.modified_time, parents = excluded.parents,
        owned_by_me = excluded.owned_by_me, owners = excluded.owners, web_view_link = excluded.web_view_link,
        resource_key = coalesce(excluded.resource_key, CASE WHEN NOT excluded.listed THEN f.resource_key END),
        shortcut_target_id = excluded.shortcut_target_id, capabilities = excluded.capabilities, seen_at = app_now(),
        listed = f.listed OR excluded.listed,
        (state, state_at, announced_at, changed_at, found_at) = (
            SELECT CASE WHEN excluded.state <> 'queued' THEN excluded.state WHEN new THEN 'queued' ELSE f.state END,
                CASE WHEN new OR excluded.state = 'folder' THEN app_now() ELSE f.state_at END,
                CASE WHEN new THEN excluded.announced_at ELSE f.announced_at END,
                CASE WHEN new THEN excluded.changed_at ELSE f.changed_at END,
                CASE WHEN new THEN app_now() ELSE f.found_at END
            FROM (SELECT f.state IN ('deleted', 'folder') OR f.content_key IS DISTINCT FROM excluded.content_key
                OR (f.reason_code IS NOT DISTINCT FROM 'outside_folders')
                    IS DISTINCT FROM (excluded.reason_code IS NOT NULL)
                OR (f.state = 'skipped' AND excluded.reason_code IS NULL
                    AND f.capabilities IS DISTINCT FROM excluded.capabilities) AS new) AS it),
        reason_code = CASE WHEN excluded.reason_code IS NOT NULL THEN excluded.reason_code
            WHEN f.reason_code = 'outside_folders' THEN NULL ELSE f.reason_code END,
        reason = CASE WHEN excluded.reason_code IS NOT NULL THEN excluded.reason
            WHEN f.reason_code = 'outside_folders' THEN NULL ELSE f.reason END,
        next_try = CASE WHEN excluded.reason_code IS NULL THEN f.next_try END,
        current_job = CASE WHEN excluded.reason_code IS NULL THEN f.current_job END,
        wanted_job = CASE WHEN excluded.reason_code IS NULL THEN f.wanted_job END
    WHERE excluded.version >= f.version
    RETURNING f.file_id, f.state, f.version, f.reason_code, f.reason, f.mime_type, f.parents, f.owned_by_me, f.drive_id
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM noted n
    WHERE n.state = 'skipped' AND n.reason_code = 'outside_folders' AND j.user_id = app_user_id()
        AND j.file_id = n.file_id AND j.state IN ('streaming', 'streamed', 'waiting')
),
left_behind AS (
    INSERT INTO file_events (user_id, file_id, event, detail)
    SELECT app_user_id(), n.file_id, 'skipped', n.reason FROM noted n JOIN known k USING (file_id)
    WHERE n.reason_code = 'outside_folders' AND k.reason_code IS DISTINCT FROM 'outside_folders'
)
SELECT n.file_id, n.state, n.version, n.mime_type, n.owned_by_me, n.drive_id, k.state AS state_before,
    k.parents IS DISTINCT FROM n.parents AS moved
FROM noted n LEFT JOIN known k USING (file_id);

-- name: rescope
-- Sort files by the selected folders, as many as `most` at a time: what lies outside leaves search now, what lies inside
-- is work again. A shortcut inside keeps what it leads to. Folder rows say what lies where.
WITH RECURSIVE chosen AS (
    SELECT unnest(selected_folders) AS folder FROM settings WHERE user_id = app_user_id()
),
places AS MATERIALIZED (
    SELECT f.file_id, lies.folder FROM gdrive_files f CROSS JOIN unnest(f.parents) AS lies(folder)
    WHERE f.user_id = app_user_id() AND f.mime_type = 'application/vnd.google-apps.folder'
),
inside AS (
    SELECT folder FROM chosen
    UNION
    SELECT p.file_id FROM inside i JOIN places p ON p.folder = i.folder
),
held AS MATERIALIZED (
    SELECT f.file_id, f.shortcut_target_id FROM gdrive_files f LEFT JOIN unnest(f.parents) AS lies(folder) ON true
    WHERE f.user_id = app_user_id() AND f.state NOT IN ('deleted', 'folder') AND (
        NOT EXISTS (SELECT FROM chosen)
        OR f.file_id IN (SELECT folder FROM chosen) OR f.drive_id IN (SELECT folder FROM chosen)
        OR lies.folder IN (SELECT folder FROM inside))
),
kept AS MATERIALIZED (
    SELECT file_id FROM held UNION SELECT shortcut_target_id FROM held WHERE shortcut_target_id IS NOT NULL
),
other AS (
    SELECT f.user_id, f.file_id, k.file_id IS NOT NULL AS inside FROM gdrive_files f LEFT JOIN kept k USING (file_id)
    WHERE f.user_id = app_user_id() AND f.state NOT IN ('deleted', 'folder')
        AND (k.file_id IS NOT NULL) = (f.state = 'skipped' AND f.reason_code IS NOT DISTINCT FROM 'outside_folders')
    LIMIT :most FOR UPDATE OF f
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM other o
    WHERE NOT o.inside AND j.user_id = o.user_id AND j.file_id = o.file_id
        AND j.state IN ('streaming', 'streamed', 'waiting')
),
left_behind AS (
    INSERT INTO file_events (user_id, file_id, event, detail)
    SELECT o.user_id, o.file_id, 'skipped', 'It lies outside the folders that you selected.' FROM other o
    WHERE NOT o.inside
)
UPDATE gdrive_files f SET
    state = CASE WHEN o.inside THEN 'queued' ELSE 'skipped' END,
    reason_code = CASE WHEN NOT o.inside THEN 'outside_folders' END,
    reason = CASE WHEN NOT o.inside THEN 'It lies outside the folders that you selected.' END,
    state_at = app_now(), next_try = NULL, current_job = CASE WHEN o.inside THEN f.current_job END,
    wanted_job = CASE WHEN o.inside THEN f.wanted_job END,
    found_at = CASE WHEN o.inside THEN app_now() ELSE f.found_at END
FROM other o
WHERE f.user_id = o.user_id AND f.file_id = o.file_id
RETURNING f.file_id, f.state, f.version, f.mime_type;

-- name: selection
-- Which folders are to be read, and whether the files are sorted by them.
SELECT selected_folders, folders_due FROM settings WHERE user_id = app_user_id();

-- name: selection_applied
-- Every file is where the selection wants it.
UPDATE settings SET folders_due = false WHERE user_id = app_user_id() AND folders_due;

-- name: lies_outside
-- Whether a file in these folders lies outside the selection; said before anything else is asked about it.
SELECT coalesce(outside_selection(CAST(:file_id AS text), CAST(:drive_id AS text), CAST(:parents AS text[])), false)
    AS outside;

-- name: unknown_folders
-- Of these folders, those that we have not heard of.
SELECT folder FROM unnest(CAST(:folders AS text[])) AS asked(folder)
WHERE NOT EXISTS (SELECT FROM gdrive_files f WHERE f.user_id = app_user_id() AND f.file_id = folder);

-- name: files_below
-- What lies in these folders, at any depth, and is in one of these states as far as we know.
WITH RECURSIVE places AS MATERIALIZED (
    SELECT f.file_id, lies.folder FROM gdrive_files f CROSS JOIN unnest(f.parents) AS lies(folder)
    WHERE f.user_id = app_user_id() AND f.mime_type = 'application/vnd.google-apps.folder'
),
below AS (
    SELECT unnest(CAST(:folders AS text[])) AS folder
    UNION
    SELECT p.file_id FROM below b JOIN places p ON p.folder = b.folder
)
SELECT DISTINCT f.file_id FROM gdrive_files f CROSS JOIN unnest(f.parents) AS lies(folder)
WHERE f.user_id = app_user_id() AND (f.state = 'deleted') = CAST(:deleted AS boolean)
    AND lies.folder IN (SELECT folder FROM below);

-- name: readmit
-- A shortcut inside the selected folders leads to this file: it is read although it lies outside.
UPDATE gdrive_files SET state = 'queued', reason_code = NULL, reason = NULL, state_at = app_now(), found_at = app_now()
WHERE user_id = app_user_id() AND file_id = :file_id AND state = 'skipped' AND reason_code = 'outside_folders'
RETURNING file_id;

-- name: leave_selection
-- A shortcut led here no longer: a file that lies outside the selected folders, and that nothing else keeps, leaves.
WITH alone AS (
    SELECT f.user_id, f.file_id FROM gdrive_files f
    WHERE f.user_id = app_user_id() AND f.file_id = :file_id AND f.state NOT IN ('deleted', 'folder')
        AND f.reason_code IS DISTINCT FROM 'outside_folders'
        AND outside_selection(f.file_id, f.drive_id, f.parents)
    FOR UPDATE
),
ended AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM alone a
    WHERE j.user_id = a.user_id AND j.file_id = a.file_id AND j.state IN ('streaming', 'streamed', 'waiting')
)
UPDATE gdrive_files f SET state = 'skipped', reason_code = 'outside_folders', state_at = app_now(), next_try = NULL,
    reason = 'It lies outside the folders that you selected.', current_job = NULL, wanted_job = NULL
FROM alone a
WHERE f.user_id = a.user_id AND f.file_id = a.file_id
RETURNING f.file_id;

-- name: begin_census
-- A census of a corpus replaces the last one.
INSERT INTO gdrive_censuses AS c (user_id, corpus, began_at) VALUES (app_user_id(), :corpus, :began_at)
ON CONFLICT (user_id, corpus) DO UPDATE SET began_at = excluded.began_at, finished_at = NULL, compared = NULL,
    incomplete = false;

-- name: forget_findings
-- What the census before found.
DELETE FROM gdrive_census_findings WHERE user_id = app_user_id() AND corpus = :corpus;

-- name: compare_page
-- A page of a census beside what we have, before it is noted: files that we lack, and files of which something that we
-- keep is not as Drive says. A version that grew for nothing that we keep is no difference.
INSERT INTO gdrive_census_findings AS c (user_id, corpus, file_id, finding)
SELECT app_user_id(), :corpus, r.file_id, CASE WHEN f.file_id IS NULL OR f.state = 'deleted' THEN 'missing' ELSE 'stale' END
FROM jsonb_to_recordset(CAST(:files AS jsonb)) AS r(
    file_id text, drive_id text, name text, mime_type text, size bigint, md5_checksum text, sha256_checksum text,
    version bigint, content_key text, parents text[], is_folder boolean)
LEFT JOIN gdrive_files f ON f.user_id = app_user_id() AND f.file_id = r.file_id
LEFT JOIN gdrive_jobs j ON j.job_id = f.current_job
WHERE f.file_id IS NULL OR f.state = 'deleted'
    OR (r.version >= f.version AND (
        (f.content_key, f.md5_checksum, f.sha256_checksum, f.name, f.mime_type, f.size, f.drive_id, f.parents)
        IS DISTINCT FROM
        (r.content_key, r.md5_checksum, r.sha256_checksum, r.name, r.mime_type, r.size, r.drive_id,
            coalesce(r.parents, '{}'))))
    OR (f.state = 'indexed' AND j.content_key IS DISTINCT FROM r.content_key)
ON CONFLICT (user_id, corpus, file_id) DO UPDATE SET finding = excluded.finding, found_at = app_now()
RETURNING c.file_id, c.finding;

-- name: reopen_stale
-- What is shown as searchable and was made of other content is work again.
UPDATE gdrive_files f SET state = 'queued', state_at = app_now()
WHERE f.user_id = app_user_id() AND f.file_id = ANY (CAST(:file_ids AS text[])) AND f.state = 'indexed'
    AND NOT EXISTS (SELECT FROM gdrive_jobs j WHERE j.job_id = f.current_job AND j.content_key = f.content_key);

-- name: note_surplus
-- Files that we have and Drive does not.
INSERT INTO gdrive_census_findings (user_id, corpus, file_id, finding)
SELECT app_user_id(), :corpus, unnest(CAST(:file_ids AS text[])), 'surplus'
ON CONFLICT (user_id, corpus, file_id) DO UPDATE SET finding = 'surplus', found_at = app_now();

-- name: finish_census
-- Everything that Drive lists has been seen.
UPDATE gdrive_censuses c SET finished_at = app_now(), incomplete = :incomplete, compared = (
    SELECT count(*) FROM gdrive_files f
    WHERE f.user_id = c.user_id AND f.listed AND f.seen_at >= c.began_at AND f.state <> 'deleted'
        AND f.drive_id IS NOT DISTINCT FROM CAST(:drive_id AS text))
WHERE c.user_id = app_user_id() AND c.corpus = :corpus AND c.finished_at IS NULL
RETURNING c.compared, (SELECT count(*) FROM gdrive_census_findings f
    WHERE f.user_id = c.user_id AND f.corpus = c.corpus) AS findings;

-- name: live_files_of
-- Which of these files do we believe to be there? A removal of anything else needs no work.
SELECT file_id, state FROM gdrive_files WHERE user_id = app_user_id() AND file_id = ANY (CAST(:file_ids AS text[]))
    AND state <> 'deleted';

-- name: files_not_seen_since
-- After a whole listing: what it did not show any more is a candidate for removal; Drive is asked about each.
SELECT file_id, resource_key, listed, state, content_key FROM gdrive_files
WHERE user_id = app_user_id() AND state NOT IN ('deleted') AND seen_at < :since
    AND drive_id IS NOT DISTINCT FROM CAST(:drive_id AS text)
ORDER BY file_id;

-- name: take_ticket
-- Taken before Drive is asked about a file; only the holder of the newest ticket may write the answer. Says in which
-- lane the file is, and which services are over their quota for how many seconds.
INSERT INTO gdrive_files AS f (user_id, file_id, ask) VALUES (app_user_id(), :file_id, 1)
ON CONFLICT (user_id, file_id) DO UPDATE SET ask = f.ask + 1
RETURNING f.ask, f.state, f.wanted_job, f.current_job, f.resource_key, f.shortcut_target_id, f.waits_for,
    coalesce(f.waits_in, (SELECT j.lane FROM gdrive_jobs j WHERE j.job_id = f.wanted_job)) AS lane,
    (SELECT jsonb_object_agg(p.service, extract(epoch FROM p.until - app_now())) FROM pressure p
        WHERE p.until > app_now()) AS busy;

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
    WHERE t.user_id = app_user_id() AND NOT t.listed AND t.state NOT IN ('deleted', 'folder') AND NOT EXISTS (
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
-- What Drive said about one file, unless somebody asked after us, whether it lies outside the selected folders, and
-- whether the person is still asked before anything is read.
-- Returns nothing for a stale ticket.
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
RETURNING f.state, f.reason_code, f.wanted_job, f.current_job,
    EXISTS (SELECT FROM settings s WHERE s.user_id = f.user_id AND s.reading = 'asks') AS held,
    coalesce(outside_selection(f.file_id, f.drive_id, f.parents), false) AS outside;

-- name: mark_file
-- A state with its reason, for a file that needs no job (a folder, a shortcut, a form) or cannot have one yet. Unless
-- it waits, work in progress on it ends, so that no late chunk brings it back. What is skipped wants no job either: the
-- passages of what it held before are purged. What waits keeps its lane, and says for which service.
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
    waits_in = CASE WHEN CAST(:state AS text) = 'waiting' THEN CAST(:lane AS text) END, waits_for = :service,
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
