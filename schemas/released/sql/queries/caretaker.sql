-- The net under everything: what waits too long, what ended by itself, what nobody can see any more.

-- name: active_people
-- Whom the sweep looks after.
SELECT user_id FROM users WHERE status = 'active' ORDER BY user_id;

-- name: due_files
-- Waiting and failed files whose time has come, each handed out once per quarter of an hour.
UPDATE gdrive_files f SET next_try = app_now() + interval '15 minutes'
WHERE (f.user_id, f.file_id) IN (
    SELECT w.user_id, w.file_id FROM gdrive_files w JOIN users u USING (user_id)
    WHERE w.state IN ('waiting', 'failed') AND w.next_try <= app_now() AND u.status = 'active'
    ORDER BY w.next_try LIMIT :most FOR UPDATE OF w SKIP LOCKED)
RETURNING f.user_id, f.file_id, (SELECT j.lane FROM gdrive_jobs j WHERE j.job_id = f.wanted_job) AS lane;

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
-- Queued or half done for long, and nobody holds a lease: the message is lost, so it is said again.
UPDATE gdrive_files f SET state_at = app_now()
WHERE (f.user_id, f.file_id) IN (
    SELECT q.user_id, q.file_id FROM gdrive_files q JOIN users u USING (user_id)
    WHERE q.state IN ('queued', 'processing') AND u.status = 'active'
        AND q.state_at <= app_now() - make_interval(secs => CAST(:quiet_seconds AS double precision))
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
