-- People, their grants and their sessions.

-- name: connect_person
-- Find or make the person behind a verified `sub`. A person who is being erased gets a new, empty id.
SELECT connect_person(CAST(:sub AS text), CAST(:email AS text), CAST(:full_name AS text)) AS user_id;

-- name: speak_for
-- From here on this transaction is that of the person whom it has just found by a verified `sub`.
SELECT set_config('app.user_id', CAST(:user_id AS text), true);

-- name: hold_person
-- Every writing transaction begins here: a person who is being erased can no longer be written for.
SELECT status FROM users WHERE user_id = app_user_id() FOR SHARE;

-- name: person
-- Who this is, for the dashboard and the functions.
SELECT user_id, email, name, status, status_reason, created_at FROM users WHERE user_id = app_user_id();

-- name: save_grant
-- A new consent replaces the old grant whole; its revision tells a slow refresh that it is out of date.
INSERT INTO user_google_credentials AS c (user_id, refresh_token_sealed, scopes)
VALUES (app_user_id(), :sealed, CAST(:scopes AS text[]))
ON CONFLICT (user_id) DO UPDATE
SET refresh_token_sealed = excluded.refresh_token_sealed, scopes = excluded.scopes, revision = c.revision + 1,
    refresh_expires_at = NULL, granted_at = app_now(), updated_at = app_now()
RETURNING revision;

-- name: limit_grant
-- Google ends this grant by itself, as it does for an app in testing.
UPDATE user_google_credentials SET refresh_expires_at = app_now() + make_interval(secs => :seconds)
WHERE user_id = app_user_id()
RETURNING refresh_expires_at;

-- name: reactivate_person
-- After a new consent the person's paused work may go on.
UPDATE users SET status = 'active', status_reason = NULL, updated_at = app_now()
WHERE user_id = app_user_id() AND status <> 'erasing'
RETURNING user_id;

-- name: warn_person
-- All is well, but there is something that an active person should know.
UPDATE users SET status_reason = :reason, updated_at = app_now()
WHERE user_id = app_user_id() AND status = 'active';

-- name: resume_waiting
-- What waited for a new consent need not wait any longer.
UPDATE gdrive_files SET next_try = app_now()
WHERE user_id = app_user_id() AND state = 'waiting' AND reason_code = 'reconnect_needed'
RETURNING file_id;

-- name: grant_of_person
-- The sealed grant, and whether the person wants us to use it.
SELECT c.refresh_token_sealed, c.scopes, c.revision, u.status,
    coalesce(c.refresh_expires_at <= app_now(), false) AS limit_reached
FROM user_google_credentials c JOIN users u USING (user_id)
WHERE c.user_id = app_user_id();

-- name: note_reconnect_needed
-- Google refused the grant: pause, but only if no newer grant has come meanwhile.
UPDATE users SET status = 'reconnect_needed', status_reason = :reason, updated_at = app_now()
WHERE user_id = app_user_id() AND status = 'active'
    AND EXISTS (SELECT FROM user_google_credentials c WHERE c.user_id = app_user_id() AND c.revision = :revision)
RETURNING user_id;

-- name: note_refused_by_drive
-- Drive itself does not take this person's grant, such as an organisation's policy: pause. A grant of less than a minute
-- may have been refused for its predecessor's token, which a worker keeps that long.
UPDATE users SET status = 'reconnect_needed', status_reason = :reason, updated_at = app_now()
WHERE user_id = app_user_id() AND status = 'active'
    AND EXISTS (SELECT FROM user_google_credentials c
        WHERE c.user_id = app_user_id() AND c.granted_at < app_now() - interval '1 minute')
RETURNING user_id;

-- name: offer_signin
-- A one-time code that hands the browser from the consent door to the dashboard.
INSERT INTO signin_codes (code_hash, user_id, expires_at)
VALUES (CAST(:code_hash AS bytea), app_user_id(), app_now() + make_interval(secs => :seconds));

-- name: redeem_signin
-- Exchange the one-time code for a session; NULL when it is unknown, used or too old.
SELECT redeem_signin(CAST(:code_hash AS bytea), CAST(:session_hash AS bytea), CAST(:seconds AS double precision))
    AS user_id;

-- name: person_of_session
-- Whose session is this? NULL for nobody's.
SELECT person_of_session(CAST(:session_hash AS bytea)) AS user_id;

-- name: end_session
-- Sign out.
SELECT end_session(CAST(:session_hash AS bytea)) AS ended;

-- name: ask_to_be_forgotten
-- The first step of a disconnect; the caretaker does the rest.
SELECT ask_to_be_forgotten() AS asked;

-- name: note_audit
-- One line in the append-only log of what we did with a person's account and files.
INSERT INTO gdrive_audit_log (user_id, action, file_id, revision, bytes, why, outcome)
VALUES (app_user_id(), :action, :file_id, :revision, CAST(:bytes AS bigint), :why, :outcome);
