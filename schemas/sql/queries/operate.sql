-- What an operator asks for by hand: work put back, keys changed, what to do after a restore, and what a run was made of.

-- name: replayable
-- What could be put back to work, by state and reason: what failed, and, for a reason that is named, also what waits or
-- was skipped for it. Where somebody selected other folders is not for an operator to overrule.
SELECT f.state, coalesce(f.reason_code, 'unknown') AS reason_code, count(*) AS files,
    count(DISTINCT f.user_id) AS people, min(f.reason) AS example
FROM gdrive_files f JOIN users u USING (user_id)
WHERE u.status = 'active' AND f.reason_code IS DISTINCT FROM 'outside_folders'
    AND CASE WHEN CAST(:code AS text) IS NULL THEN f.state = 'failed'
        ELSE f.state IN ('failed', 'waiting', 'skipped') AND coalesce(f.reason_code, 'unknown') = CAST(:code AS text) END
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2;

-- name: replay_files
-- The next of them after a place, each queued again: should its message be lost, the caretaker finds it quiet. What was
-- skipped wants its job no more until the streamer says so, so that nothing of it shows meanwhile.
WITH picked AS (
    SELECT f.user_id, f.file_id, f.state,
        (SELECT j.lane FROM gdrive_jobs j WHERE j.job_id = f.wanted_job) AS lane
    FROM gdrive_files f JOIN users u USING (user_id)
    WHERE u.status = 'active' AND f.reason_code IS DISTINCT FROM 'outside_folders'
        AND CASE WHEN CAST(:code AS text) IS NULL THEN f.state = 'failed'
            ELSE f.state IN ('failed', 'waiting', 'skipped')
                AND coalesce(f.reason_code, 'unknown') = CAST(:code AS text) END
        AND (CAST(:after_user AS uuid) IS NULL
            OR (f.user_id, f.file_id) > (CAST(:after_user AS uuid), CAST(:after_file AS text)))
    ORDER BY f.user_id, f.file_id LIMIT :most FOR UPDATE OF f
),
queued AS (
    UPDATE gdrive_files f SET state = 'queued', state_at = app_now(), next_try = NULL, reason_code = NULL,
        reason = NULL, wanted_job = CASE WHEN p.state = 'skipped' THEN NULL ELSE f.wanted_job END
    FROM picked p WHERE f.user_id = p.user_id AND f.file_id = p.file_id
)
SELECT user_id, file_id, lane FROM picked ORDER BY user_id, file_id;

-- name: sealed_grants
-- The next grants after a person, to be sealed with the newest key.
SELECT user_id, refresh_token_sealed FROM user_google_credentials
WHERE CAST(:after AS uuid) IS NULL OR user_id > CAST(:after AS uuid)
ORDER BY user_id LIMIT :most;

-- name: reseal_grant
-- The same grant under another key, unless a new consent has replaced it meanwhile.
UPDATE user_google_credentials SET refresh_token_sealed = :sealed, updated_at = app_now()
WHERE user_id = :user_id AND refresh_token_sealed = :was
RETURNING user_id;

-- name: people_who_stay
-- Everybody who is connected or was until Google refused, and is not being erased.
SELECT user_id FROM users WHERE status <> 'erasing' ORDER BY user_id;

-- name: everybody
-- Everybody there is a row of, those who leave too.
SELECT user_id FROM users ORDER BY user_id;

-- name: forget_again
-- Whom a restored backup has brought back although they had left.
UPDATE users SET status = 'erasing', updated_at = app_now()
WHERE user_id = ANY (CAST(:user_ids AS uuid[])) AND status <> 'erasing'
RETURNING user_id;

-- name: end_sessions
-- A restored backup has sessions that were ended since: everybody signs in again.
DELETE FROM sessions;

-- name: first_connection
-- When the first person was connected, in seconds since 1970.
SELECT extract(epoch FROM min(created_at))::double precision AS at FROM users;

-- name: files_done
-- Every file that is at rest, when it came to be so, and what it gave.
SELECT f.name, coalesce(f.size, 0) AS size, extract(epoch FROM f.state_at)::double precision AS at,
    (SELECT count(*) FROM memories m WHERE m.user_id = f.user_id AND m.job_id = f.visible_job) AS passages
FROM gdrive_files f WHERE f.state IN ('indexed', 'skipped', 'failed');

-- name: pgvector_standing
-- Which pgvector the database has, and whether any migration was run.
SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS version,
    to_regclass('alembic_version') IS NOT NULL AS migrated;

-- name: migration_standing
-- The last migration that was run.
SELECT version_num FROM alembic_version;
