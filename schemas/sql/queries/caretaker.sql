-- The net under everything: what waits too long, what ended by itself, what nobody can see any more.

-- name: active_people
-- Whom the sweep looks after.
SELECT user_id FROM users WHERE status = 'active' ORDER BY user_id;

-- name: due_files
-- Waiting and failed files whose time has come, each handed out once per quarter of an hour. Where there are more than
-- can be worked on, fresh ones come first, and of each kind the first of everybody before the second of anybody.
WITH due AS (
    SELECT w.user_id, w.file_id, coalesce(w.waits_in, j.lane, 'backfill') AS lane, w.next_try
    FROM users u CROSS JOIN LATERAL (
        SELECT f.user_id, f.file_id, f.waits_in, f.wanted_job, f.next_try FROM gdrive_files f
        WHERE f.user_id = u.user_id AND f.state IN ('waiting', 'failed') AND f.next_try <= app_now()
        ORDER BY f.waits_in IS NOT DISTINCT FROM 'fresh' DESC, f.next_try LIMIT :most FOR UPDATE SKIP LOCKED) AS w
    LEFT JOIN gdrive_jobs j ON j.job_id = w.wanted_job
    WHERE u.status = 'active'
),
chosen AS (
    SELECT user_id, file_id, lane, row_number() OVER (ORDER BY lane <> 'fresh', turn, next_try) AS turn FROM (
        SELECT *, row_number() OVER (PARTITION BY user_id, lane ORDER BY next_try) AS turn FROM due) AS turns
    ORDER BY 4 LIMIT :most
)
UPDATE gdrive_files f SET next_try = app_now() + interval '15 minutes' FROM chosen c
WHERE f.user_id = c.user_id AND f.file_id = c.file_id
RETURNING f.user_id, f.file_id, c.lane, c.turn;

-- name: outdated_files
-- Files that were finished by other settings, such as another model, so many that no more than `most` are under way; a
-- quota that is used up holds them up. What they show stays until they are whole in the new ones.
UPDATE gdrive_files f SET state = 'queued', state_at = app_now()
WHERE (f.user_id, f.file_id) IN (
    SELECT o.user_id, o.file_id FROM gdrive_files o JOIN users u USING (user_id)
    JOIN gdrive_jobs j ON j.job_id = o.current_job
    WHERE o.state = 'indexed' AND o.wanted_job = o.current_job AND u.status = 'active'
        AND j.pipeline_version <> :pipeline
    ORDER BY o.indexed_at
    LIMIT greatest(0, :most - (
        SELECT count(*) FROM gdrive_files w JOIN users u USING (user_id) JOIN gdrive_jobs j ON j.job_id = w.current_job
        WHERE (w.state IN ('queued', 'processing') OR (w.state = 'waiting' AND w.reason_code = 'quota'))
            AND u.status = 'active' AND j.pipeline_version <> :pipeline))
    FOR UPDATE OF o SKIP LOCKED)
RETURNING f.user_id, f.file_id, 'backfill' AS lane;

-- name: lost_leases
-- Jobs whose holder died: the lease ended by itself. Handed out once per lease.
UPDATE gdrive_jobs j SET lease_until = NULL, updated_at = app_now()
WHERE j.job_id IN (
    SELECT l.job_id FROM gdrive_jobs l JOIN users u USING (user_id)
    WHERE l.state = 'streaming' AND u.status = 'active'
        AND (l.lease_until <= app_now()
            OR (l.lease_until IS NULL
                AND l.updated_at <= app_now() - make_interval(secs => CAST(:quiet_seconds AS double precision))))
    ORDER BY l.lease_until LIMIT :most FOR UPDATE OF l SKIP LOCKED)
RETURNING j.user_id, j.file_id, j.lane;

-- name: quiet_files
-- Queued or half done for long, and nobody holds a lease: the message is lost, so it is said again. Of a person who has
-- not said yet that reading may begin there is no message.
UPDATE gdrive_files f SET state_at = app_now()
WHERE (f.user_id, f.file_id) IN (
    SELECT q.user_id, q.file_id FROM gdrive_files q JOIN users u USING (user_id)
    WHERE q.state IN ('queued', 'processing') AND u.status = 'active'
        AND q.state_at <= app_now() - make_interval(secs => CAST(:quiet_seconds AS double precision))
        AND NOT EXISTS (SELECT FROM settings s WHERE s.user_id = q.user_id AND s.reading = 'asks')
        AND NOT EXISTS (SELECT FROM gdrive_jobs j WHERE j.job_id = q.wanted_job AND j.state IN ('streaming', 'streamed')
            AND j.updated_at > app_now() - make_interval(secs => CAST(:quiet_seconds AS double precision)))
    ORDER BY q.state_at LIMIT :most FOR UPDATE OF q SKIP LOCKED)
RETURNING f.user_id, f.file_id, (SELECT j.lane FROM gdrive_jobs j WHERE j.job_id = f.wanted_job) AS lane;

-- name: reopen_streamed_jobs
-- A job whose last chunks never came back is read again from its start; finished chunks are not paid for twice.
UPDATE gdrive_jobs j SET state = 'failed', updated_at = app_now()
FROM gdrive_files f
WHERE f.user_id = :user_id AND f.file_id = :file_id AND j.job_id = f.wanted_job AND j.state = 'streamed';

-- name: bury_job
-- The job behind a dead letter: failed, with the reason, so that a next try begins at its start.
UPDATE gdrive_jobs SET state = 'failed', reason_code = :code, reason = :reason, lease_until = NULL,
    updated_at = app_now()
WHERE user_id = :user_id AND job_id = :job_id AND state IN ('streaming', 'streamed', 'waiting')
RETURNING file_id;

-- name: purge_jobs
-- Passages of revisions that nobody wants any more. Removing the job removes its chunks, passages and entities with it,
-- so that content which comes back is work again.
DELETE FROM gdrive_jobs WHERE job_id IN (
    SELECT j.job_id FROM gdrive_jobs j
    WHERE j.updated_at < app_now() - make_interval(secs => CAST(:grace_seconds AS double precision))
        AND NOT EXISTS (SELECT FROM gdrive_files f
            WHERE f.user_id = j.user_id AND f.file_id = j.file_id AND j.job_id IN (f.wanted_job, f.current_job)
                AND (f.state <> 'deleted' OR f.deleted_at > app_now() - interval '30 days'))
    LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING job_id;

-- name: purge_skipped
-- A file that was skipped half way shows nothing of what was understood before. Its job stays, so that nobody reads it
-- again for nothing; its passages do not.
WITH ended AS (
    SELECT j.job_id FROM gdrive_jobs j
    WHERE j.state = 'skipped' AND j.finished_chunks > 0
        AND j.updated_at < app_now() - make_interval(secs => CAST(:grace_seconds AS double precision))
        AND EXISTS (SELECT FROM memories m WHERE m.job_id = j.job_id)
    LIMIT :most FOR UPDATE SKIP LOCKED
),
forgotten AS (
    DELETE FROM gdrive_chunks c USING ended WHERE c.job_id = ended.job_id
)
UPDATE gdrive_jobs j SET finished_chunks = 0, checkpoint = NULL
FROM ended WHERE j.job_id = ended.job_id
RETURNING j.job_id;

-- name: purge_requests
-- Answers that nobody asks for again.
DELETE FROM idempotent_requests WHERE (user_id, key) IN (
    SELECT user_id, key FROM idempotent_requests WHERE made_at < app_now() - interval '1 day'
    LIMIT :most FOR UPDATE SKIP LOCKED)
RETURNING key;

-- name: purge_paid
-- What was kept for the next delivery of a chunk for which nobody waits any more.
WITH waited_for AS (
    SELECT j.job_id FROM gdrive_jobs j
    JOIN gdrive_files f ON f.user_id = j.user_id AND f.file_id = j.file_id AND f.wanted_job = j.job_id
    WHERE j.job_id IN (SELECT job_id FROM paid_pages UNION SELECT job_id FROM paid_vectors)
        AND f.state IN ('queued', 'processing', 'waiting', 'failed')
),
pages AS (
    DELETE FROM paid_pages WHERE job_id NOT IN (SELECT job_id FROM waited_for)
)
DELETE FROM paid_vectors WHERE job_id NOT IN (SELECT job_id FROM waited_for);

-- name: gauges
-- How everything is, in numbers only: what waits and for how long, how the channels are, what is spent today (UTC).
WITH active AS (SELECT user_id FROM users WHERE status = 'active'),
corpora AS (
    SELECT coalesce(max(w.expires_at) FILTER (WHERE w.state = 'active'), '-infinity') AS ends,
        bool_or(coalesce(w.silent_at > app_now() - interval '1 day', false)) AS silent
    FROM gdrive_webhooks w JOIN active USING (user_id) GROUP BY w.user_id, w.corpus
),
spent AS (
    SELECT coalesce(sum(drive_units), 0) AS drive_units, coalesce(sum(drive_bytes), 0) AS drive_bytes,
        coalesce(sum(ocr_pages), 0) AS ocr_pages, coalesce(sum(embedded_tokens), 0) AS embedded_tokens,
        coalesce(sum(model_input_tokens), 0) AS model_input_tokens,
        coalesce(sum(model_output_tokens), 0) AS model_output_tokens
    FROM costs WHERE day = (app_now() AT TIME ZONE 'UTC')::date
),
states AS (
    SELECT f.state, CASE WHEN f.state = 'waiting' THEN coalesce(f.reason_code, 'unknown') END AS code, count(*) AS files
    FROM gdrive_files f JOIN active USING (user_id) WHERE f.listed AND f.state <> 'folder' GROUP BY 1, 2
),
ages AS (
    -- A file that no change log told of waits as a part of its listing.
    SELECT coalesce(j.lane, CASE WHEN f.indexed_at IS NULL THEN 'backfill' ELSE 'fresh' END) AS lane,
        extract(epoch FROM app_now() - f.state_at) AS seconds
    FROM gdrive_files f JOIN active USING (user_id) LEFT JOIN gdrive_jobs j ON j.job_id = f.wanted_job
    WHERE f.state IN ('queued', 'processing')
)
SELECT 'people' AS gauge, status AS of, count(*)::double precision AS value FROM users GROUP BY status
UNION ALL
SELECT 'files', state, sum(files)::double precision FROM states GROUP BY state
UNION ALL
SELECT 'files_waiting', code, sum(files)::double precision FROM states WHERE code IS NOT NULL GROUP BY code
UNION ALL
SELECT 'queue_age_seconds', lane, coalesce(max(seconds), 0)::double precision
FROM unnest(ARRAY['fresh', 'backfill']) AS lane LEFT JOIN ages USING (lane) GROUP BY lane
UNION ALL
SELECT 'channels', 'announced', count(*) FILTER (WHERE ends > app_now())::double precision FROM corpora
UNION ALL
SELECT 'channels', 'unannounced', count(*) FILTER (WHERE ends <= app_now())::double precision FROM corpora
UNION ALL
SELECT 'channels', 'silent', count(*) FILTER (WHERE silent)::double precision FROM corpora
UNION ALL
SELECT 'channel_ends_seconds', 'first', extract(epoch FROM min(ends) - app_now())::double precision
FROM corpora WHERE ends > app_now() HAVING count(*) > 0
UNION ALL
SELECT 'spent_today', unit.key, unit.value::double precision FROM spent, jsonb_each_text(to_jsonb(spent)) AS unit
ORDER BY 1, 2;

-- name: people_to_erase
-- Who asked to be forgotten.
SELECT user_id FROM users WHERE status = 'erasing' AND (CAST(:user_id AS uuid) IS NULL OR user_id = CAST(:user_id AS uuid));

-- name: grant_to_revoke
-- The grant of a person who leaves, for the last use of it. Google revokes all that an account has granted to this
-- app, so one that has connected again meanwhile keeps its grants.
SELECT c.refresh_token_sealed, EXISTS (
    SELECT FROM users again WHERE again.google_sub = u.google_sub AND again.status <> 'erasing') AS connected_again
FROM user_google_credentials c JOIN users u USING (user_id)
WHERE c.user_id = :user_id;

-- name: lock_leaving
-- One at a time writes down what became of a person who leaves.
SELECT user_id FROM users WHERE user_id = :user_id AND status = 'erasing' FOR UPDATE;

-- name: note_leaving
-- Each step of a disconnect is in the audit log once, however often it was begun. The log goes with the person; what
-- stays is the receipt.
INSERT INTO gdrive_audit_log (user_id, action, why, outcome)
SELECT u.user_id, :action, 'asked', :outcome FROM users u
WHERE u.user_id = :user_id AND u.status = 'erasing'
    AND NOT EXISTS (SELECT FROM gdrive_audit_log a WHERE a.user_id = u.user_id AND a.action = :action);

-- name: erase_batch
-- One batch of a person's jobs, with all that hangs on them; repeated until none is left.
WITH gone AS (
    DELETE FROM gdrive_jobs WHERE job_id IN (SELECT job_id FROM gdrive_jobs WHERE user_id = :user_id LIMIT :most)
    RETURNING 1
)
SELECT count(*) AS gone FROM gone;

-- name: count_for_receipt
-- What is about to be erased, in numbers only.
SELECT (SELECT count(*) FROM gdrive_files WHERE user_id = :user_id AND state <> 'folder') AS files,
    (SELECT count(*) FROM memories WHERE user_id = :user_id) AS passages;

-- name: leave_receipt
-- Anonymous: says how much was erased, and nothing about whom.
INSERT INTO receipts (receipt_id, files, passages) VALUES (:receipt_id, :files, :passages)
ON CONFLICT (receipt_id) DO NOTHING;

-- name: erase_person
-- The last row; everything that still hangs on it goes with it.
DELETE FROM users WHERE user_id = :user_id AND status = 'erasing';

-- name: note_silence
-- The channel was open, and announced nothing.
UPDATE gdrive_webhooks SET silent_at = app_now() WHERE user_id = app_user_id() AND channel_id = :channel_id;

-- name: note_channel
-- The record of a notification channel, for people and audits.
INSERT INTO gdrive_webhooks AS w (channel_id, user_id, corpus, resource_id, state, expires_at)
VALUES (:channel_id, app_user_id(), :corpus, :resource_id, :state, CAST(:expires_at AS timestamptz))
ON CONFLICT (channel_id) DO UPDATE SET resource_id = coalesce(excluded.resource_id, w.resource_id),
    state = excluded.state, expires_at = coalesce(excluded.expires_at, w.expires_at), updated_at = app_now();
