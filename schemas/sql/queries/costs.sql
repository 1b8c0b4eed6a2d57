-- What was spent, and what may be.

-- name: add_cost
-- What one step cost, in the services' own units.
INSERT INTO costs AS c (user_id, file_id, drive_units, drive_bytes, ocr_pages, embedded_tokens, model_input_tokens,
    model_output_tokens)
VALUES (app_user_id(), :file_id, :drive_units, :drive_bytes, :ocr_pages, :embedded_tokens, :model_input_tokens,
    :model_output_tokens)
ON CONFLICT (user_id, file_id, day) DO UPDATE SET
    drive_units = c.drive_units + excluded.drive_units, drive_bytes = c.drive_bytes + excluded.drive_bytes,
    ocr_pages = c.ocr_pages + excluded.ocr_pages, embedded_tokens = c.embedded_tokens + excluded.embedded_tokens,
    model_input_tokens = c.model_input_tokens + excluded.model_input_tokens,
    model_output_tokens = c.model_output_tokens + excluded.model_output_tokens;

-- name: lock_caps
-- What the person lets us spend in a month; no row for who did not say. Held until the transaction ends, so that what
-- is left is given away once, and a cap that is raised meanwhile is seen by whoever waits for it.
SELECT byte_cap AS bytes, page_cap AS pages, token_cap AS tokens FROM settings
WHERE user_id = app_user_id() AND num_nonnulls(byte_cap, page_cap, token_cap) > 0 FOR UPDATE;

-- name: used_of_caps
-- This month's spending, with what other steps have reserved and not paid yet, and how long the month lasts.
WITH month AS (
    SELECT date_trunc('month', app_now() AT TIME ZONE 'UTC') AS begins, app_now() AT TIME ZONE 'UTC' AS now
),
paid AS (
    SELECT coalesce(sum(drive_bytes), 0) AS bytes, coalesce(sum(ocr_pages), 0) AS pages,
        coalesce(sum(embedded_tokens + model_input_tokens + model_output_tokens), 0) AS tokens
    FROM costs, month WHERE user_id = app_user_id() AND day >= month.begins::date
),
reserved AS (
    SELECT coalesce(sum(bytes), 0) AS bytes, coalesce(sum(pages), 0) AS pages, coalesce(sum(tokens), 0) AS tokens
    FROM reservations
    WHERE user_id = app_user_id() AND until > app_now() AND (job_id, index) <> (CAST(:job_id AS uuid), :index)
)
SELECT (paid.bytes + reserved.bytes)::bigint AS bytes, (paid.pages + reserved.pages)::bigint AS pages,
    (paid.tokens + reserved.tokens)::bigint AS tokens,
    extract(epoch FROM month.begins + interval '1 month' - month.now)::double precision AS seconds_left
FROM paid, reserved, month;

-- name: reserve
-- Taken by this step until it is settled. Who dies before that leaves it to end by itself.
INSERT INTO reservations (job_id, index, user_id, bytes, pages, tokens, until)
VALUES (:job_id, :index, app_user_id(), :bytes, :pages, :tokens,
    app_now() + make_interval(secs => CAST(:seconds AS double precision)))
ON CONFLICT (job_id, index) DO UPDATE SET bytes = excluded.bytes, pages = excluded.pages, tokens = excluded.tokens,
    until = excluded.until;

-- name: settle
-- The step is over.
DELETE FROM reservations WHERE user_id = app_user_id() AND job_id = :job_id AND index = :index;

-- name: lift_caps
-- Somebody changed their caps: what waited for that is tried now.
WITH changed AS (
    UPDATE settings SET caps_due = false WHERE caps_due RETURNING user_id
)
UPDATE gdrive_files f SET next_try = app_now() FROM changed
WHERE f.user_id = changed.user_id AND f.state = 'waiting' AND f.reason_code = 'cap_reached'
RETURNING f.user_id, f.file_id;

-- name: caps
-- What the person lets us spend in a month.
SELECT byte_cap AS bytes, page_cap AS pages, token_cap AS tokens FROM settings WHERE user_id = app_user_id();

-- name: set_caps
-- Other caps than before. The caretaker puts back what waited for that.
INSERT INTO settings (user_id, byte_cap, page_cap, token_cap, caps_due)
VALUES (app_user_id(), :bytes, :pages, :tokens, true)
ON CONFLICT (user_id) DO UPDATE SET byte_cap = excluded.byte_cap, page_cap = excluded.page_cap,
    token_cap = excluded.token_cap, caps_due = true, updated_at = app_now();

-- name: costs_by_day
-- A person's spending day by day (UTC), the newest first.
SELECT day, sum(drive_units)::bigint AS drive_units, sum(drive_bytes)::bigint AS drive_bytes,
    sum(ocr_pages)::bigint AS ocr_pages, sum(embedded_tokens)::bigint AS embedded_tokens,
    sum(model_input_tokens)::bigint AS model_input_tokens, sum(model_output_tokens)::bigint AS model_output_tokens
FROM costs WHERE user_id = app_user_id() AND day >= CAST(:since AS date)
GROUP BY day ORDER BY day DESC;

-- name: costs_by_file
-- The dearest files, by the prices given for a million of each unit; then those that were most read.
SELECT c.file_id, f.name, sum(c.drive_units)::bigint AS drive_units, sum(c.drive_bytes)::bigint AS drive_bytes,
    sum(c.ocr_pages)::bigint AS ocr_pages, sum(c.embedded_tokens)::bigint AS embedded_tokens,
    sum(c.model_input_tokens)::bigint AS model_input_tokens, sum(c.model_output_tokens)::bigint AS model_output_tokens
FROM costs c LEFT JOIN gdrive_files f ON f.user_id = c.user_id AND f.file_id = c.file_id
WHERE c.user_id = app_user_id() AND c.day >= CAST(:since AS date)
GROUP BY c.file_id, f.name
ORDER BY sum(c.drive_units) * CAST(:drive_units AS numeric) + sum(c.drive_bytes) * CAST(:drive_bytes AS numeric)
    + sum(c.ocr_pages) * CAST(:ocr_pages AS numeric) + sum(c.embedded_tokens) * CAST(:embedded_tokens AS numeric)
    + sum(c.model_input_tokens) * CAST(:model_input_tokens AS numeric)
    + sum(c.model_output_tokens) * CAST(:model_output_tokens AS numeric) DESC, sum(c.drive_bytes) DESC, c.file_id
LIMIT :most;

-- name: note_pressure
-- A service is over its quota: who would read for it knows. Written when that lasts longer than was known, so seldom.
INSERT INTO pressure AS p (service, until, reason)
VALUES (:service, app_now() + make_interval(secs => CAST(:seconds AS double precision)), :reason)
ON CONFLICT (service) DO UPDATE SET until = excluded.until, reason = excluded.reason
WHERE p.until < excluded.until - interval '5 seconds';

-- name: note_pause
-- The listing of a corpus waits.
INSERT INTO pauses (user_id, corpus, until, code, reason)
VALUES (app_user_id(), :corpus, app_now() + make_interval(secs => CAST(:seconds AS double precision)), :code, :reason)
ON CONFLICT (user_id, corpus) DO UPDATE SET until = excluded.until, code = excluded.code, reason = excluded.reason;

-- name: forget_pauses
-- Pauses that are over.
DELETE FROM pauses WHERE until <= app_now();

-- name: note_standing
-- How one of Drive's quotas stands.
INSERT INTO quota_standings AS q (budget, used, remaining, resets_at)
VALUES (:budget, :used, :remaining, CAST(:resets_at AS timestamptz))
ON CONFLICT (budget) DO UPDATE SET used = excluded.used, remaining = excluded.remaining,
    resets_at = excluded.resets_at, noted_at = app_now();

-- name: standings
-- How Drive's quotas stand, as far as they have not begun anew since.
SELECT budget, used, remaining, resets_at FROM quota_standings WHERE resets_at > app_now() ORDER BY budget;

-- name: pressures
-- Which services are over their quota, and for how many seconds more.
SELECT service, extract(epoch FROM until - app_now())::double precision AS seconds FROM pressure ORDER BY service;

-- name: paused
-- Whether this person's work waits for a quota: until when and why. Of several reasons, the one that most files have.
SELECT until, code, reason, files FROM (
    SELECT min(next_try) AS until, reason_code AS code, min(reason) AS reason, count(*) AS files FROM gdrive_files
    WHERE user_id = app_user_id() AND state = 'waiting' AND next_try IS NOT NULL
        AND reason_code IN ('quota_day', 'quota_minute', 'quota', 'quotaExceeded', 'dailyLimitExceeded')
    GROUP BY reason_code
    UNION ALL
    SELECT until, code, reason, 0 FROM pauses WHERE user_id = app_user_id() AND until > app_now()
) AS waits
ORDER BY files DESC, until LIMIT 1;
