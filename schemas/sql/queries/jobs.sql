-- Reading one revision of one file: who may do it, how far it is, and when it is done.

-- name: want_job
-- From here on chunks of this job are accepted and those of any other job of the file are not. The old revision stays
-- visible until this one is finished.
WITH superseded AS (
    UPDATE gdrive_jobs SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    WHERE user_id = app_user_id() AND file_id = :file_id AND job_id <> :job_id
        AND state IN ('streaming', 'streamed', 'waiting')
)
UPDATE gdrive_files SET wanted_job = :job_id, state = 'processing', state_at = app_now(),
    reason_code = NULL, reason = NULL, next_try = NULL, waits_in = NULL, waits_for = NULL
WHERE user_id = app_user_id() AND file_id = :file_id AND ask = :ticket
RETURNING file_id;

-- name: job
-- A job as it stands.
SELECT job_id, file_id, content_key, revision, state, epoch, lease_until, checkpoint, expected_chunks, finished_chunks,
    bytes_read, attempts, integrity, truncated_at, reason_code, reason, next_try, created_at, updated_at, finished_at
FROM gdrive_jobs WHERE user_id = app_user_id() AND job_id = :job_id;

-- name: claim_job
-- Take the lease with a new epoch. Nobody gets it while another holder's lease runs, except the life it was handed to
-- (the message carries its epoch). A job whose chunks may have been refused meanwhile begins again at its start; its
-- recorded chunks are not worked on twice, because their names are the same. Without a `lane` it keeps the one it has.
INSERT INTO gdrive_jobs AS j (job_id, user_id, file_id, content_key, revision, pipeline_version, lane, state, epoch,
    lease_until, attempts)
VALUES (:job_id, app_user_id(), :file_id, :content_key, :revision, :pipeline_version,
    coalesce(CAST(:lane AS text), 'backfill'), 'streaming', 1,
    app_now() + make_interval(secs => CAST(:lease_seconds AS double precision)), 1)
ON CONFLICT (job_id) DO UPDATE SET
    state = 'streaming', epoch = j.epoch + 1, lease_until = excluded.lease_until, attempts = j.attempts + 1,
    lane = coalesce(CAST(:lane AS text), j.lane), next_try = NULL, reason_code = NULL, reason = NULL, updated_at = app_now(),
    checkpoint = CASE WHEN j.state IN ('streaming', 'waiting') THEN j.checkpoint END,
    expected_chunks = NULL
WHERE CASE WHEN CAST(:epoch AS bigint) > 0 THEN j.state = 'streaming' AND j.epoch = CAST(:epoch AS bigint)
    ELSE j.state IN ('waiting', 'skipped', 'failed', 'superseded')
        OR (j.state = 'streaming' AND (j.lease_until IS NULL OR j.lease_until <= app_now())) END
RETURNING j.epoch, j.checkpoint, j.attempts, j.lane;

-- name: restore_job
-- The content is one that we have read whole before and still hold: show it again, at no cost. Touching the job keeps
-- the purge from it; whatever else was being read of this file ends.
WITH finished AS (
    UPDATE gdrive_jobs SET updated_at = app_now()
    WHERE user_id = app_user_id() AND job_id = :job_id AND state = 'finished'
    RETURNING job_id
),
superseded AS (
    UPDATE gdrive_jobs j SET state = 'superseded', lease_until = NULL, updated_at = app_now()
    FROM finished
    WHERE j.user_id = app_user_id() AND j.file_id = :file_id AND j.job_id <> finished.job_id
        AND j.state IN ('streaming', 'streamed', 'waiting')
)
UPDATE gdrive_files f SET current_job = finished.job_id, wanted_job = finished.job_id, state = 'indexed',
    state_at = CASE WHEN f.state = 'indexed' AND f.current_job = finished.job_id THEN f.state_at ELSE app_now() END,
    reason_code = NULL, reason = NULL, next_try = NULL, deleted_at = NULL
FROM finished
WHERE f.user_id = app_user_id() AND f.file_id = :file_id AND f.ask = :ticket
RETURNING f.file_id;

-- name: keep_streaming
-- Renew the lease. No row means that somebody newer holds the job, or that nobody wants it any more: stop.
UPDATE gdrive_jobs j SET lease_until = app_now() + make_interval(secs => CAST(:lease_seconds AS double precision)),
    updated_at = app_now()
FROM gdrive_files f
WHERE j.user_id = app_user_id() AND j.job_id = :job_id AND j.epoch = :epoch AND j.state = 'streaming'
    AND f.user_id = j.user_id AND f.file_id = j.file_id AND f.wanted_job = j.job_id
RETURNING j.job_id;

-- name: let_go
-- The holder stops before the end: whoever comes next need not wait until the lease is over.
UPDATE gdrive_jobs SET lease_until = app_now(), updated_at = app_now()
WHERE user_id = app_user_id() AND job_id = :job_id AND epoch = :epoch AND state = 'streaming'
RETURNING job_id;

-- name: unread_job
-- What was read is not what Drive states: nothing of it stays, and the next life begins at the start.
WITH unread AS (
    UPDATE gdrive_jobs SET checkpoint = NULL, finished_chunks = 0, updated_at = app_now()
    WHERE user_id = app_user_id() AND job_id = :job_id AND epoch = :epoch AND state = 'streaming'
    RETURNING job_id
),
forgotten AS (
    DELETE FROM gdrive_chunks c USING unread WHERE c.user_id = app_user_id() AND c.job_id = unread.job_id
)
SELECT job_id FROM unread;

-- name: save_checkpoint
-- Everything before this point is published and confirmed. Only the holder of the epoch may say so.
UPDATE gdrive_jobs j SET checkpoint = CAST(:checkpoint AS jsonb), bytes_read = :bytes_read, updated_at = app_now(),
    lease_until = app_now() + make_interval(secs => CAST(:lease_seconds AS double precision))
FROM gdrive_files f
WHERE j.user_id = app_user_id() AND j.job_id = :job_id AND j.epoch = :epoch AND j.state = 'streaming'
    AND f.user_id = j.user_id AND f.file_id = j.file_id AND f.wanted_job = j.job_id
RETURNING j.job_id;

-- name: finish_streaming
-- The file is read to its end: this many chunks make it whole.
UPDATE gdrive_jobs SET state = 'streamed', expected_chunks = :expected_chunks, bytes_read = :bytes_read,
    integrity = :integrity, truncated_at = :truncated_at, lease_until = NULL, updated_at = app_now()
WHERE user_id = app_user_id() AND job_id = :job_id AND epoch = :epoch AND state = 'streaming'
RETURNING job_id;

-- name: end_job
-- The job ends without (or waits for) text: skipped, failed or waiting, with its reason. Only the holder may say so,
-- and the file shows it only while it still wants this job.
WITH ended AS (
    UPDATE gdrive_jobs SET state = :state, reason_code = :code, reason = :reason, lease_until = NULL,
        next_try = app_now() + make_interval(secs => CAST(:retry_after AS double precision)), updated_at = app_now(),
        bytes_read = greatest(bytes_read, :bytes_read)
    WHERE user_id = app_user_id() AND job_id = :job_id AND epoch = :epoch AND state = 'streaming'
    RETURNING job_id, file_id, next_try
)
UPDATE gdrive_files f SET state = :state, reason_code = :code, reason = :reason, state_at = app_now(),
    next_try = ended.next_try, current_job = CASE WHEN :state = 'skipped' THEN NULL ELSE f.current_job END,
    waits_for = :service
FROM ended
WHERE f.user_id = app_user_id() AND f.file_id = ended.file_id AND f.wanted_job = ended.job_id
RETURNING f.file_id;

-- name: chunk_standing
-- Before anything is paid for: does the file still want this job, is the chunk already done, and what was paid for it
-- before? A lock is asked for, too: where nothing can be written, nothing is to be paid for.
SELECT j.state, j.pipeline_version, f.wanted_job = j.job_id AS wanted, u.status AS person,
    EXISTS (SELECT FROM gdrive_chunks c WHERE c.job_id = j.job_id AND c.index = :index) AS recorded,
    EXISTS (SELECT FROM settings s
        WHERE s.user_id = j.user_id AND num_nonnulls(s.byte_cap, s.page_cap, s.token_cap) > 0) AS capped,
    (SELECT p.pages FROM paid_pages p WHERE p.job_id = j.job_id AND p.index = :index) AS paid_pages
FROM gdrive_jobs j
JOIN gdrive_files f ON f.user_id = j.user_id AND f.file_id = j.file_id
JOIN users u ON u.user_id = j.user_id
WHERE j.user_id = app_user_id() AND j.job_id = :job_id
FOR KEY SHARE OF u;

-- name: lock_wanted_job
-- The last chunk and the end of the stream may commit together; whoever holds this row decides alone. A job that waits
-- goes on behind its checkpoint, so what it published before is still wanted.
SELECT j.job_id, j.file_id FROM gdrive_jobs j
JOIN gdrive_files f ON f.user_id = j.user_id AND f.file_id = j.file_id AND f.wanted_job = j.job_id
WHERE j.user_id = app_user_id() AND j.job_id = :job_id AND j.state IN ('streaming', 'streamed', 'waiting')
FOR UPDATE OF j;

-- name: record_chunk
-- A chunk delivered twice is one row. `attempt` is by what to ask whether this transaction was committed, should the
-- answer be lost.
WITH recorded AS (
    INSERT INTO gdrive_chunks (job_id, index, user_id, kind, passages, locator, reason_code, reason)
    VALUES (:job_id, :index, app_user_id(), :kind, :passages, CAST(:locator AS jsonb), :code, :reason)
    ON CONFLICT (job_id, index) DO NOTHING
    RETURNING job_id
)
UPDATE gdrive_jobs j SET finished_chunks = finished_chunks + 1, updated_at = app_now()
FROM recorded WHERE j.user_id = app_user_id() AND j.job_id = recorded.job_id
RETURNING j.finished_chunks, pg_current_xact_id()::text AS attempt;

-- name: committed
-- A row where an earlier attempt was committed, although nobody got to know.
SELECT 1 AS committed WHERE pg_xact_status(CAST(CAST(:attempt AS text) AS xid8)) = 'committed';

-- name: stage_passages
-- COPY into a table with row level security is refused, so passages are staged for this transaction only, as they are:
-- to press them together for that while takes a tenth of the writing.
CREATE TEMP TABLE staged_passages (
    ordinal integer, passage text, terms text, locator jsonb, hash bytea, embedding halfvec(768)
) WITH (toast_tuple_target = 8160) ON COMMIT DROP;

-- name: save_passages
-- From the staging table; a passage whose words this person already has takes over the vector that was paid for, and so
-- does one whose vector an earlier delivery of the chunk could not write.
INSERT INTO memories (job_id, index, ordinal, user_id, file_id, passage, terms, locator, hash, model, embedding)
SELECT :job_id, :index, s.ordinal, app_user_id(), :file_id, s.passage, s.terms, s.locator, s.hash, :model,
    coalesce(s.embedding, (
        SELECT m.embedding FROM memories m
        WHERE m.user_id = app_user_id() AND m.hash = s.hash AND m.model = :model AND m.embedding IS NOT NULL LIMIT 1), (
        SELECT p.embedding FROM paid_vectors p WHERE p.job_id = :job_id AND p.index = :index AND p.hash = s.hash))
FROM staged_passages s
ON CONFLICT (job_id, index, ordinal) DO NOTHING;

-- name: passages_without_vector
-- Passages of this chunk that were to take over a vector which is gone.
SELECT ordinal FROM memories
WHERE user_id = app_user_id() AND job_id = :job_id AND index = :index AND embedding IS NULL
    AND hash = ANY (CAST(:hashes AS bytea[]));

-- name: known_hashes
-- Which passages of this chunk has this person paid for already?
SELECT DISTINCT hash FROM memories
WHERE user_id = app_user_id() AND model = :model AND hash = ANY (CAST(:hashes AS bytea[])) AND embedding IS NOT NULL
UNION
SELECT hash FROM paid_vectors
WHERE job_id = :job_id AND index = :index AND hash = ANY (CAST(:hashes AS bytea[]));

-- name: keep_paid_pages
-- Recognised, and the chunk could not be written: its next delivery goes on from here. A job of which nobody will ask
-- again keeps nothing.
INSERT INTO paid_pages (job_id, index, user_id, pages)
SELECT job_id, :index, user_id, CAST(:pages AS text[]) FROM gdrive_jobs
WHERE user_id = app_user_id() AND job_id = :job_id AND state IN ('streaming', 'streamed', 'waiting', 'failed')
    AND NOT EXISTS (SELECT FROM gdrive_chunks c WHERE c.job_id = :job_id AND c.index = :index)
ON CONFLICT DO NOTHING;

-- name: keep_paid_vectors
-- The same for vectors.
INSERT INTO paid_vectors (job_id, index, hash, user_id, embedding)
SELECT j.job_id, :index, v.hash, j.user_id, CAST(v.embedding AS halfvec(768))
FROM gdrive_jobs j, unnest(CAST(:hashes AS bytea[]), CAST(:vectors AS text[])) AS v(hash, embedding)
WHERE j.user_id = app_user_id() AND j.job_id = :job_id AND j.state IN ('streaming', 'streamed', 'waiting', 'failed')
    AND NOT EXISTS (SELECT FROM gdrive_chunks c WHERE c.job_id = j.job_id AND c.index = :index)
ON CONFLICT DO NOTHING;

-- name: forget_paid
-- The chunk is written, with all that was paid for it.
WITH pages AS (DELETE FROM paid_pages WHERE job_id = :job_id AND index = :index)
DELETE FROM paid_vectors WHERE job_id = :job_id AND index = :index;

-- name: save_entities
-- Names found in the passages of one chunk, each a substring of its passage.
INSERT INTO entities (job_id, index, ordinal, user_id, file_id, kind, name, starts, ends)
SELECT :job_id, :index, r.ordinal, app_user_id(), :file_id, r.kind, r.name, r.starts, r.ends
FROM jsonb_to_recordset(CAST(:entities AS jsonb)) AS r(ordinal integer, kind text, name text, starts integer, ends integer)
ON CONFLICT DO NOTHING;

-- name: save_relations
-- How the names of one passage are related. Both ends are entities of it, or the database refuses.
INSERT INTO relations (job_id, index, ordinal, user_id, file_id, predicate, subject_kind, subject_starts, subject_ends,
    object_kind, object_starts, object_ends)
SELECT :job_id, :index, r.ordinal, app_user_id(), :file_id, r.predicate, r.subject_kind, r.subject_starts,
    r.subject_ends, r.object_kind, r.object_starts, r.object_ends
FROM jsonb_to_recordset(CAST(:relations AS jsonb)) AS r(ordinal integer, predicate text, subject_kind text,
    subject_starts integer, subject_ends integer, object_kind text, object_starts integer, object_ends integer)
ON CONFLICT DO NOTHING;

-- name: finish_job
-- Run by whoever may have been last. When every expected chunk is recorded, the file shows this revision and no other.
-- A file in which nobody found a word is skipped and says why; one with gaps is indexed and names them.
WITH found AS (
    SELECT coalesce(sum(passages), 0) AS passages, min(reason_code) AS code, min(reason) AS reason
    FROM gdrive_chunks WHERE user_id = app_user_id() AND job_id = :job_id
),
done AS (
    UPDATE gdrive_jobs SET state = CASE WHEN found.passages > 0 THEN 'finished' ELSE 'skipped' END,
        finished_at = app_now(), updated_at = app_now()
    FROM found
    WHERE user_id = app_user_id() AND job_id = :job_id AND state = 'streamed' AND finished_chunks >= expected_chunks
    RETURNING job_id, file_id, content_key, truncated_at, lane, bytes_read, found.passages, found.code, found.reason
)
UPDATE gdrive_files f SET indexed_at = app_now(), state_at = app_now(), next_try = NULL, deleted_at = NULL,
    current_job = CASE WHEN done.passages > 0 THEN done.job_id END,
    state = CASE WHEN f.content_key IS DISTINCT FROM done.content_key THEN f.state
        WHEN done.passages > 0 THEN 'indexed' ELSE 'skipped' END,
    truncated_at = CASE WHEN done.passages > 0 THEN coalesce(done.truncated_at, done.reason) END,
    reason_code = CASE WHEN done.passages = 0 THEN coalesce(done.code, 'no_text') END,
    reason = CASE WHEN done.passages = 0 THEN coalesce(done.reason, 'No text was found in this file.') END
FROM done
WHERE f.user_id = app_user_id() AND f.file_id = done.file_id AND f.wanted_job = done.job_id
RETURNING f.file_id, f.state, f.reason_code AS code, f.reason, done.lane, done.bytes_read AS bytes,
    -- Since the content came to be; of what was there a day before we saw the file at all, since we found it.
    extract(epoch FROM app_now() - CASE WHEN f.changed_at > f.first_seen_at - interval '1 day' THEN f.changed_at
        ELSE f.found_at END)::double precision AS seconds_to_search;

-- name: pause_job
-- The services that understand text are away for long: the file waits, and the caretaker puts it back. It says for
-- which service, so that nobody reads it again before that has room.
WITH paused AS (
    UPDATE gdrive_jobs SET state = 'failed', reason_code = :code, reason = :reason, lease_until = NULL,
        updated_at = app_now()
    WHERE user_id = app_user_id() AND job_id = :job_id AND state IN ('streaming', 'streamed', 'waiting')
    RETURNING job_id, file_id
)
UPDATE gdrive_files f SET state = 'waiting', reason_code = :code, reason = :reason, state_at = app_now(),
    next_try = app_now() + make_interval(secs => CAST(:retry_after AS double precision)), waits_for = :service
FROM paused WHERE f.user_id = app_user_id() AND f.file_id = paused.file_id AND f.wanted_job = paused.job_id
RETURNING f.file_id;
