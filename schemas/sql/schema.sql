-- Drivestream's database, whole. The numbered migrations add up to exactly this (a test compares the two).
-- Run as drivestream_migrator, after roles.sql. One rule carries it: every table with a user_id has row level security
-- enabled and forced, so that even a query that forgets its WHERE shows one person's rows or none.

CREATE FUNCTION app_user_id() RETURNS uuid LANGUAGE sql STABLE
    AS $$ SELECT nullif(current_setting('app.user_id', true), '')::uuid $$;
COMMENT ON FUNCTION app_user_id() IS 'The person this transaction speaks for; NULL, and so no rows, when nobody said.';

CREATE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE
    -- CASE, not coalesce: of that the planner believes under row level security that it may tell, and uses no index.
    AS $$ SELECT now() + CASE WHEN nullif(current_setting('app.clock_offset', true), '') IS NULL THEN interval '0'
        ELSE current_setting('app.clock_offset', true)::interval END $$;
COMMENT ON FUNCTION app_now() IS 'The only clock. Tests move it with app.clock_offset.';

-- People ------------------------------------------------------------------------------------------------------------

CREATE TABLE users (
    user_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), -- new for each connection: nothing old can write into a new one
    google_sub text NOT NULL, -- the verified subject of Google's id token; never an e-mail address
    email text NOT NULL DEFAULT '',
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'reconnect_needed', 'erasing')),
    status_reason text,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now()
);
CREATE UNIQUE INDEX users_google_sub ON users (google_sub) WHERE status <> 'erasing';

CREATE TABLE user_google_credentials (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    refresh_token_sealed text NOT NULL, -- Fernet, with the user id inside the sealed text
    scopes text[] NOT NULL DEFAULT '{}',
    revision bigint NOT NULL DEFAULT 1, -- compare-and-set: a slow refresh never overwrites a newer grant
    refresh_expires_at timestamptz, -- only for grants that Google limits in time
    quota_info jsonb,
    drive_permissions jsonb,
    granted_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now()
);

CREATE TABLE settings (
    user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    selected_folders text[] NOT NULL DEFAULT '{}', -- empty: everything
    byte_cap bigint, -- in a month (UTC); NULL: none
    page_cap bigint,
    token_cap bigint,
    updated_at timestamptz NOT NULL DEFAULT app_now(),
    folders_due boolean NOT NULL DEFAULT false, -- selected otherwise since the files were last sorted by it
    caps_due boolean NOT NULL DEFAULT false, -- changed since the caretaker last put back what waited for it
    -- NULL: nobody asked, it is read as it is listed. 'asks': listed only, until the person says so. 'due': they have,
    -- and not every file has been put to work yet. 'begun': every file has.
    reading text CHECK (reading IN ('asks', 'due', 'begun')),
    reading_from timestamptz, -- while it is 'due': behind which file, newest first, the next one is put to work
    reading_from_id text
);

CREATE TABLE signin_codes (
    code_hash bytea PRIMARY KEY, -- SHA-256; the code itself lives one minute in the browser's address
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    expires_at timestamptz NOT NULL
);

CREATE TABLE idempotent_requests ( -- what a request with an Idempotency-Key was answered, for a day
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL,
    fingerprint bytea NOT NULL, -- SHA-256 of what was asked: one key, one request
    status integer, -- NULL while it is being answered
    answer text,
    made_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotent_requests_by_age ON idempotent_requests (made_at);

CREATE TABLE vouchers ( -- another dashboard's word for who is on the way to the consent; no person yet
    voucher_hash bytea PRIMARY KEY, -- SHA-256; the voucher itself is in one link, for ten minutes
    caller text NOT NULL, -- the service account that vouches
    person text NOT NULL, -- its own name for somebody
    email text NOT NULL, -- the Google account that must consent: a link that is passed on connects nobody else
    return_url text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX vouchers_by_age ON vouchers (expires_at);

CREATE TABLE vouched_people (
    caller text NOT NULL,
    person text NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    since timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (caller, person)
);
CREATE INDEX vouched_people_by_user ON vouched_people (user_id);

-- Files and the work on them ----------------------------------------------------------------------------------------

CREATE TABLE gdrive_files (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    drive_id text, -- the shared drive, NULL for My Drive and files shared with the person
    name text NOT NULL DEFAULT '',
    mime_type text NOT NULL DEFAULT '',
    size bigint,
    md5_checksum text,
    sha256_checksum text,
    head_revision_id text,
    version bigint NOT NULL DEFAULT 0, -- Drive's, grows with every change: the order of all answers
    content_key text, -- what changes exactly when the content does
    created_time timestamptz,
    modified_time timestamptz,
    parents text[] NOT NULL DEFAULT '{}',
    owned_by_me boolean,
    owners jsonb,
    web_view_link text,
    resource_key text,
    shortcut_target_id text,
    capabilities jsonb,
    drive_permissions jsonb,
    priority integer NOT NULL DEFAULT 0,
    memory_id uuid,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN
        ('queued', 'processing', 'waiting', 'indexed', 'skipped', 'failed', 'deleted', 'folder')),
    reason_code text,
    reason text, -- a sentence for a person
    next_try timestamptz,
    truncated_at text, -- the bound at which a long text was cut, if any
    ask bigint NOT NULL DEFAULT 0, -- ticket: who asked Drive last may write what Drive said
    wanted_job uuid,
    current_job uuid,
    visible_job uuid GENERATED ALWAYS AS (
        CASE WHEN state IN ('deleted', 'skipped', 'folder') THEN NULL ELSE coalesce(current_job, wanted_job) END
    ) STORED, -- what search shows: the finished revision, or the first one while it grows
    name_words tsvector GENERATED ALWAYS AS (
        to_tsvector('simple', name) || to_tsvector('simple', translate(name, '._-/()[]', '        '))
    ) STORED,
    first_seen_at timestamptz NOT NULL DEFAULT app_now(),
    announced_at timestamptz,
    seen_at timestamptz NOT NULL DEFAULT app_now(),
    state_at timestamptz NOT NULL DEFAULT app_now(),
    indexed_at timestamptz,
    deleted_at timestamptz,
    -- false: not among the person's files, and reached by a shortcut of theirs, or a folder that something lies in
    listed boolean NOT NULL DEFAULT true,
    changed_at timestamptz, -- when this content came to be, by Drive's change log
    found_at timestamptz, -- when we saw first that there is this content
    waits_in text CHECK (waits_in IN ('fresh', 'backfill')), -- the lane in which it waits, before it has a job
    waits_for text, -- the service whose quota had no room for it
    PRIMARY KEY (user_id, file_id)
);
CREATE INDEX gdrive_files_unlisted ON gdrive_files (user_id) WHERE NOT listed;
CREATE INDEX gdrive_files_by_target ON gdrive_files (user_id, shortcut_target_id) WHERE shortcut_target_id IS NOT NULL;
CREATE INDEX gdrive_files_by_state ON gdrive_files (user_id, state, state_at DESC);
CREATE INDEX gdrive_files_by_parent ON gdrive_files USING gin (parents);
CREATE INDEX gdrive_files_by_name ON gdrive_files USING gin (name_words);
CREATE INDEX gdrive_files_waiting ON gdrive_files (next_try) WHERE state IN ('waiting', 'failed');
CREATE INDEX gdrive_files_visible_job ON gdrive_files (visible_job);

CREATE TABLE gdrive_jobs (
    job_id uuid PRIMARY KEY, -- uuid5(user, file, content key, pipeline version): the same work has the same name
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    content_key text NOT NULL,
    revision text NOT NULL DEFAULT '',
    pipeline_version text NOT NULL,
    lane text NOT NULL DEFAULT 'fresh' CHECK (lane IN ('fresh', 'backfill')),
    state text NOT NULL DEFAULT 'streaming' CHECK (state IN
        ('streaming', 'streamed', 'waiting', 'finished', 'skipped', 'failed', 'superseded')),
    epoch bigint NOT NULL DEFAULT 0, -- fences the streamer's own writes
    lease_until timestamptz,
    checkpoint jsonb, -- {"next_index": n, "after": reader state, "bytes": n}
    expected_chunks bigint, -- known once the file is read to its end
    finished_chunks bigint NOT NULL DEFAULT 0,
    bytes_read bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    integrity text,
    truncated_at text,
    reason_code text,
    reason text,
    next_try timestamptz,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now(),
    finished_at timestamptz
);
CREATE INDEX gdrive_jobs_by_file ON gdrive_jobs (user_id, file_id);
CREATE INDEX gdrive_jobs_leased ON gdrive_jobs (lease_until) WHERE state = 'streaming';

CREATE TABLE gdrive_chunks (
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    kind text NOT NULL,
    passages integer NOT NULL,
    locator jsonb,
    reason_code text, -- why this chunk gave no text, such as pages that need OCR where there is none
    reason text,
    recorded_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (job_id, index) -- the idempotency record: a chunk delivered twice is one row
);
CREATE INDEX gdrive_chunks_by_user ON gdrive_chunks (user_id, recorded_at);

CREATE FUNCTION words_of(person uuid, words tsvector) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- A word of two thousand bytes is none, and with the person before it Postgres would refuse it.
    SELECT array_to_tsvector(ARRAY(
        SELECT left(person::text, 8) || '|' || word FROM unnest(tsvector_to_array(words)) word
        WHERE octet_length(word) <= 2000))
$$;
COMMENT ON FUNCTION words_of(uuid, tsvector) IS 'Each word with its person before it, as the full-text index holds them.';

CREATE FUNCTION sought_of(person uuid, sought tsquery) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(
        -- Places are not in the index, and what must not be there narrows nothing down: `words @@ sought` decides.
        regexp_replace(coalesce(nullif(nullif(querytree(sought), ''), 'T'), '''' || left(person::text, 8) || '|'''),
            ' <(-|[0-9]+)> ', ' & ', 'g'),
        '''((?:[^'']|'''')+)''', '''' || left(person::text, 8) || '|\1''', 'g')::tsquery
$$;
COMMENT ON FUNCTION sought_of(uuid, tsquery) IS
    'What finds in `words_of(person, ...)` everything that a query matches, and maybe more; all, if it only excludes.';

CREATE FUNCTION slot_of(person uuid) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT get_byte(uuid_send(person), 15) % 16 $$;
COMMENT ON FUNCTION slot_of(uuid) IS 'In which of the indexes over vectors somebody''s passages are.';

CREATE TABLE memories (
    job_id uuid NOT NULL,
    index bigint NOT NULL,
    ordinal integer NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    passage text NOT NULL,
    locator jsonb NOT NULL,
    hash bytea NOT NULL, -- of the normalised text: the same words of the same person are embedded once
    model text NOT NULL,
    embedding halfvec(768),
    words tsvector STORAGE MAIN GENERATED ALWAYS AS ( -- in the row itself: ranking reads it of hundreds of passages
        to_tsvector('simple', passage) || to_tsvector('english', passage)
        -- Each term with the person before it, and the person alone: the index knows whose passage it is.
        || array_to_tsvector(string_to_array(
            left(user_id::text, 8) || '|' || replace(' ' || terms, ' ', ' ' || left(user_id::text, 8) || '|'), ' '))
    ) STORED,
    terms text NOT NULL DEFAULT '', -- what the passage is found by besides its words: shared/domain/terms.py
    PRIMARY KEY (job_id, index, ordinal),
    FOREIGN KEY (job_id, index) REFERENCES gdrive_chunks ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX memories_by_hash ON memories (user_id, hash);
CREATE INDEX memories_by_file ON memories (user_id, file_id);
-- Keyed by person and word: of what others wrote nothing is read, however common the word.
CREATE INDEX memories_by_words ON memories USING gin (words_of(user_id, words));
ALTER INDEX memories_by_words ALTER COLUMN 1 SET STATISTICS 0; -- nothing is planned by them
-- An index over vectors knows nothing of people: the fewer share one, the less of others is walked through, and the
-- smaller it is. `nearest_passages` names the one that it needs.
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE INDEX %I ON memories USING hnsw (embedding halfvec_cosine_ops) WHERE slot_of(user_id) = %s',
            'memories_by_meaning_' || slot, slot);
    END LOOP;
END
$$;

CREATE FUNCTION entity_key(name text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT lower(btrim(regexp_replace(normalize(name, NFKC), '\s+', ' ', 'g'))) $$;
COMMENT ON FUNCTION entity_key(text) IS 'One spelling for all: a person has one entity of a kind and key, in however many files.';

CREATE TABLE entities (
    job_id uuid NOT NULL,
    index bigint NOT NULL,
    ordinal integer NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('person', 'organisation', 'place', 'date', 'amount', 'topic')),
    name text NOT NULL,
    starts integer NOT NULL, -- offsets in characters of the passage: the name is a substring of it
    ends integer NOT NULL,
    key text NOT NULL GENERATED ALWAYS AS (entity_key(name)) STORED,
    PRIMARY KEY (job_id, index, ordinal, kind, starts, ends),
    FOREIGN KEY (job_id, index, ordinal) REFERENCES memories ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX entities_by_key ON entities (user_id, kind, key);

CREATE TABLE relations (
    job_id uuid NOT NULL,
    index bigint NOT NULL,
    ordinal integer NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    predicate text NOT NULL CHECK (predicate IN ('works_for', 'part_of', 'located_in', 'owns', 'made', 'knows',
        'contacted', 'paid', 'costs', 'happened_on', 'about')),
    subject_kind text NOT NULL,
    subject_starts integer NOT NULL,
    subject_ends integer NOT NULL,
    object_kind text NOT NULL,
    object_starts integer NOT NULL,
    object_ends integer NOT NULL,
    PRIMARY KEY (job_id, index, ordinal, subject_kind, subject_starts, subject_ends, predicate, object_kind,
        object_starts, object_ends),
    -- Both ends are grounded in the same passage, and go with it.
    FOREIGN KEY (job_id, index, ordinal, subject_kind, subject_starts, subject_ends)
        REFERENCES entities ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (job_id, index, ordinal, object_kind, object_starts, object_ends)
        REFERENCES entities ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX relations_by_file ON relations (user_id, file_id);


-- What happened ------------------------------------------------------------------------------------------------------

CREATE TABLE gdrive_webhooks (
    channel_id text PRIMARY KEY, -- the record for people and audits; Firestore holds the one the public door reads
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    resource_id text,
    state text NOT NULL CHECK (state IN ('pending', 'active', 'stopped', 'unsupported')),
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT app_now(),
    updated_at timestamptz NOT NULL DEFAULT app_now(),
    silent_at timestamptz -- when it was found to announce nothing
);
CREATE INDEX gdrive_webhooks_by_user ON gdrive_webhooks (user_id, corpus);

CREATE TABLE file_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT app_now(),
    event text NOT NULL, -- announced, seen, reading, read, understood, skipped, failed, waiting, deleted, restored
    detail text
);
CREATE INDEX file_events_by_file ON file_events (user_id, file_id, event_id DESC);

CREATE TABLE costs (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    file_id text NOT NULL,
    day date NOT NULL DEFAULT (app_now() AT TIME ZONE 'UTC')::date,
    drive_units bigint NOT NULL DEFAULT 0,
    drive_bytes bigint NOT NULL DEFAULT 0,
    ocr_pages bigint NOT NULL DEFAULT 0,
    embedded_tokens bigint NOT NULL DEFAULT 0,
    model_input_tokens bigint NOT NULL DEFAULT 0,
    model_output_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, file_id, day)
);
CREATE INDEX costs_by_day ON costs (user_id, day);

CREATE TABLE forecasts ( -- what reading a corpus will take, by kinds of files, computed of its first listing alone
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    kind text NOT NULL, -- shared/domain/forecast.py
    files bigint NOT NULL,
    listed_bytes bigint NOT NULL,
    expected jsonb NOT NULL, -- by what is counted: at least, likely, at most
    made_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, corpus, kind)
);

CREATE TABLE reservations ( -- what is under way of people who have a cap: taken, and not in the counters yet
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL, -- of the chunk; -1 for the reading of the file
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    bytes bigint NOT NULL,
    pages bigint NOT NULL,
    tokens bigint NOT NULL,
    until timestamptz NOT NULL, -- whoever died settles nothing
    PRIMARY KEY (job_id, index)
);
CREATE INDEX reservations_by_user ON reservations (user_id);

CREATE TABLE paid_pages ( -- recognised for a chunk whose understanding failed afterwards: the next delivery goes on here
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    pages text[] NOT NULL,
    PRIMARY KEY (job_id, index)
);
CREATE INDEX paid_pages_by_user ON paid_pages (user_id);

CREATE TABLE paid_vectors ( -- the same for vectors, by the hash of their passage
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    embedding halfvec(768) NOT NULL,
    PRIMARY KEY (job_id, index, hash)
);
CREATE INDEX paid_vectors_by_user ON paid_vectors (user_id);

CREATE TABLE pressure ( -- services of Google's that are over their quota, so that nothing is read for them meanwhile
    service text PRIMARY KEY,
    until timestamptz NOT NULL,
    reason text NOT NULL
);

CREATE TABLE quota_standings ( -- how Drive's quotas stood when the caretaker looked last; the accounts are in Firestore
    budget text PRIMARY KEY,
    used bigint NOT NULL, -- leased
    remaining bigint NOT NULL,
    resets_at timestamptz NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT app_now()
);

CREATE TABLE pauses ( -- listings that wait, and until when
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    until timestamptz NOT NULL,
    code text NOT NULL,
    reason text NOT NULL, -- a sentence for a person
    PRIMARY KEY (user_id, corpus)
);

CREATE TABLE gdrive_audit_log (
    entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT app_now(),
    action text NOT NULL, -- connect, reconnect, read, refresh_failed, disconnect ...
    file_id text,
    revision text,
    bytes bigint,
    why text,
    outcome text NOT NULL
);
CREATE INDEX gdrive_audit_log_by_user ON gdrive_audit_log (user_id, entry_id DESC);

CREATE TABLE tallies ( -- what each person has, counted as it changes; a row for each change until they are folded
    tally_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    what text NOT NULL CHECK (what IN ('files', 'seen', 'bytes', 'chunks')),
    state text, -- of files
    reason_code text,
    count bigint NOT NULL DEFAULT 0,
    amount bigint NOT NULL DEFAULT 0, -- bytes of files and of what was read of them; passages of chunks
    latest timestamptz -- when one was understood, seen in a listing, read, recorded
);
CREATE INDEX tallies_by_user ON tallies (user_id);

CREATE TABLE receipts (
    receipt_id uuid PRIMARY KEY, -- given to the person; says what was erased and nothing about whom
    erased_at timestamptz NOT NULL DEFAULT app_now(),
    files bigint NOT NULL,
    passages bigint NOT NULL
);

CREATE TABLE gdrive_censuses ( -- the last one of each corpus
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    began_at timestamptz NOT NULL,
    finished_at timestamptz, -- NULL while it goes on
    compared bigint, -- files that Drive listed
    incomplete boolean NOT NULL DEFAULT false, -- Drive said that it had not looked everywhere
    PRIMARY KEY (user_id, corpus)
);

CREATE TABLE gdrive_census_findings ( -- what was not as in Drive, and is being put right
    user_id uuid NOT NULL,
    corpus text NOT NULL,
    file_id text NOT NULL,
    finding text NOT NULL CHECK (finding IN ('missing', 'stale', 'surplus')),
    found_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, corpus, file_id),
    FOREIGN KEY (user_id, corpus) REFERENCES gdrive_censuses ON DELETE CASCADE
);

-- Counting as it changes: a page that says how far it is must not count eight million rows ------------------------------

CREATE FUNCTION fold_tallies(person uuid) RETURNS void LANGUAGE sql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH taken AS (
        DELETE FROM tallies WHERE user_id = person RETURNING what, state, reason_code, count, amount, latest
    )
    INSERT INTO tallies (user_id, what, state, reason_code, count, amount, latest)
    SELECT person, what, state, reason_code, sum(count), sum(amount), max(latest)
    FROM taken GROUP BY what, state, reason_code
$$;
COMMENT ON FUNCTION fold_tallies(uuid) IS 'One row for each thing that is counted of a person, instead of one a change.';

CREATE FUNCTION tally_files() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO tallies (user_id, what, state, reason_code, count, amount, latest)
        SELECT user_id, 'files', state, reason_code, count(*), coalesce(sum(size), 0), max(indexed_at)
        FROM added GROUP BY user_id, state, reason_code
        UNION ALL SELECT user_id, 'seen', NULL, NULL, 0, 0, max(seen_at) FROM added GROUP BY user_id;
    ELSIF TG_OP = 'DELETE' THEN
        -- Whoever is erased is not there any more, and nothing of theirs is counted.
        INSERT INTO tallies (user_id, what, state, reason_code, count, amount)
        SELECT user_id, 'files', r.state, r.reason_code, -count(*), -coalesce(sum(r.size), 0)
        FROM removed r JOIN users USING (user_id) GROUP BY user_id, r.state, r.reason_code;
    ELSE
        INSERT INTO tallies (user_id, what, state, reason_code, count, amount, latest)
        WITH changed AS (
            SELECT 1 AS n, user_id, state, reason_code, size, indexed_at, seen_at FROM added
            UNION ALL SELECT -1, user_id, state, reason_code, size, indexed_at, seen_at FROM removed
        )
        SELECT user_id, 'files', state, reason_code, sum(n), coalesce(sum(n * size), 0),
            max(indexed_at) FILTER (WHERE n = 1)
        FROM changed GROUP BY user_id, state, reason_code HAVING sum(n) <> 0 OR sum(n * size) <> 0
        UNION ALL
        SELECT user_id, 'seen', NULL, NULL, 0, 0, max(seen_at)
        FROM changed GROUP BY user_id HAVING max(seen_at) > max(seen_at) FILTER (WHERE n = -1);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tally_added AFTER INSERT ON gdrive_files
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_files();
CREATE TRIGGER tally_changed AFTER UPDATE ON gdrive_files
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_files();
CREATE TRIGGER tally_removed AFTER DELETE ON gdrive_files
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION tally_files();

CREATE FUNCTION tally_bytes() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO tallies (user_id, what, amount)
        SELECT user_id, 'bytes', -sum(r.bytes_read) FROM removed r JOIN users USING (user_id) GROUP BY user_id
        HAVING sum(r.bytes_read) <> 0;
    ELSE
        INSERT INTO tallies (user_id, what, amount, latest) VALUES (NEW.user_id, 'bytes',
            NEW.bytes_read - CASE TG_OP WHEN 'UPDATE' THEN OLD.bytes_read ELSE 0 END, NEW.updated_at);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tally_begun AFTER INSERT ON gdrive_jobs
    FOR EACH ROW WHEN (NEW.bytes_read <> 0) EXECUTE FUNCTION tally_bytes();
CREATE TRIGGER tally_read AFTER UPDATE ON gdrive_jobs
    FOR EACH ROW WHEN (NEW.bytes_read <> OLD.bytes_read) EXECUTE FUNCTION tally_bytes();
CREATE TRIGGER tally_removed AFTER DELETE ON gdrive_jobs
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION tally_bytes();

CREATE FUNCTION tally_chunks() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO tallies (user_id, what, count, amount)
        SELECT user_id, 'chunks', -count(*), -sum(r.passages) FROM removed r JOIN users USING (user_id) GROUP BY user_id;
    ELSE
        INSERT INTO tallies (user_id, what, count, amount, latest)
        SELECT user_id, 'chunks', count(*), sum(passages), max(recorded_at) FROM added GROUP BY user_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tally_added AFTER INSERT ON gdrive_chunks
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tally_chunks();
CREATE TRIGGER tally_removed AFTER DELETE ON gdrive_chunks
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION tally_chunks();

CREATE FUNCTION fold_now_and_then() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- Two at once would each take what the other one takes. Who comes second leaves it.
    IF pg_try_advisory_xact_lock(hashtextextended('tallies of ' || NEW.user_id, 0)) THEN
        PERFORM fold_tallies(NEW.user_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER fold AFTER INSERT ON tallies
    FOR EACH ROW WHEN (NEW.tally_id % 256 = 0) EXECUTE FUNCTION fold_now_and_then();

-- Doors without a person yet: each finds one row by a secret and does one thing ----------------------------------------

CREATE FUNCTION connect_person(sub text, person_email text, person_name text) RETURNS uuid
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO users (google_sub, email, name) VALUES (sub, person_email, person_name)
    ON CONFLICT (google_sub) WHERE status <> 'erasing'
    DO UPDATE SET email = excluded.email, name = excluded.name, updated_at = app_now()
    RETURNING user_id
$$;

CREATE FUNCTION redeem_signin(code bytea, session bytea, seconds double precision) RETURNS uuid
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH code_used AS (
        DELETE FROM signin_codes WHERE code_hash = code RETURNING user_id, expires_at
    )
    INSERT INTO sessions (token_hash, user_id, expires_at)
    SELECT session, user_id, app_now() + make_interval(secs => seconds) FROM code_used WHERE expires_at > app_now()
    RETURNING user_id
$$;

CREATE FUNCTION person_of_session(session bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.user_id FROM sessions s JOIN users u USING (user_id)
    WHERE s.token_hash = session AND s.expires_at > app_now() AND u.status <> 'erasing'
$$;

CREATE FUNCTION end_session(session bytea) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH gone AS (DELETE FROM sessions WHERE token_hash = session RETURNING 1) SELECT count(*) FROM gone
$$;

CREATE FUNCTION offer_voucher(
    voucher bytea, called_by text, known_as text, person_email text, back text, seconds double precision
) RETURNS timestamptz
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH old AS (DELETE FROM vouchers WHERE expires_at < app_now())
    INSERT INTO vouchers VALUES (voucher, called_by, known_as, person_email, back, app_now() + make_interval(secs => seconds))
    RETURNING expires_at
$$;

CREATE FUNCTION redeem_voucher(voucher bytea) RETURNS text
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH used AS (
        DELETE FROM vouchers v USING users u
        WHERE v.voucher_hash = voucher AND v.expires_at > app_now()
            AND u.user_id = app_user_id() AND lower(u.email) = lower(v.email)
        RETURNING v.caller, v.person, v.return_url, u.user_id
    ),
    known AS (
        INSERT INTO vouched_people AS p (caller, person, user_id) SELECT caller, person, user_id FROM used
        ON CONFLICT (caller, person) DO UPDATE SET user_id = excluded.user_id, since = app_now()
    )
    SELECT return_url FROM used
$$;
COMMENT ON FUNCTION redeem_voucher(bytea) IS
    'Once: whoever has just consented, with the account that was named, is the caller''s person. Where they come from.';

CREATE FUNCTION person_vouched(called_by text, known_as text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT p.user_id FROM vouched_people p JOIN users u USING (user_id)
    WHERE p.caller = called_by AND p.person = known_as AND u.status <> 'erasing'
$$;
COMMENT ON FUNCTION person_vouched(text, text) IS 'Who another dashboard means by its own name for somebody.';

CREATE FUNCTION ask_to_be_forgotten() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH person AS (
        UPDATE users SET status = 'erasing', updated_at = app_now() WHERE user_id = app_user_id() RETURNING 1
    )
    SELECT count(*) FROM person
$$;
COMMENT ON FUNCTION ask_to_be_forgotten() IS 'The first step of a disconnect: from here on nothing writes for this person.';

CREATE FUNCTION stand_still() RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH person AS (
        SELECT user_id FROM users WHERE user_id = app_user_id() AND status <> 'erasing' FOR NO KEY UPDATE
    )
    SELECT count(*) FROM person
$$;
COMMENT ON FUNCTION stand_still() IS
    'Until this transaction ends nobody writes for the person: who writes later sees what it changed.';

CREATE FUNCTION channel_totals() RETURNS TABLE (kind text, corpora bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH corpus AS (
        SELECT bool_or(w.state = 'active' AND w.expires_at > app_now()) AS announced,
            bool_or(coalesce(w.silent_at > app_now() - interval '1 day', false)) AS silent
        FROM gdrive_webhooks w JOIN users u USING (user_id) WHERE u.status = 'active'
        GROUP BY w.user_id, w.corpus
    )
    SELECT 'announced', count(*) FILTER (WHERE announced) FROM corpus
    UNION ALL
    SELECT 'unannounced', count(*) FILTER (WHERE NOT announced) FROM corpus
    UNION ALL
    SELECT 'silent', count(*) FILTER (WHERE silent) FROM corpus
$$;
COMMENT ON FUNCTION channel_totals() IS 'How the notification channels of everybody are, in numbers only.';

CREATE FUNCTION census_totals() RETURNS TABLE (finding text, files bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT 'compared', coalesce(sum(compared), 0)::bigint FROM gdrive_censuses
    UNION ALL
    SELECT kind, (SELECT count(*) FROM gdrive_census_findings f WHERE f.finding = kind)
    FROM unnest(ARRAY['missing', 'stale', 'surplus']) AS kind
$$;
COMMENT ON FUNCTION census_totals() IS 'What the last censuses of everybody found, in numbers only.';

CREATE FUNCTION ending_of(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN strpos(name, '.') > 0 THEN left(lower(btrim(regexp_replace(name, '^.*\.', ''))), 12)
        WHEN lower(btrim(name)) IN ('makefile', 'dockerfile', 'readme', 'license', 'changelog', 'authors', 'copying')
            THEN lower(btrim(name))
        ELSE '' END
$$;
COMMENT ON FUNCTION ending_of(text) IS 'What a file''s name says of its kind: its extension, or the whole of a name such as README.';

CREATE FUNCTION instance_pace() RETURNS TABLE (files bigint, bytes bigint, seconds double precision)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*), coalesce(sum(size), 0)::bigint,
        60.0 * count(DISTINCT date_trunc('minute', indexed_at))::double precision
    FROM gdrive_files WHERE indexed_at > app_now() - interval '7 days'
$$;
COMMENT ON FUNCTION instance_pace() IS
    'How much was understood for everybody in the last week, and in how many minutes of it, in numbers only.';

CREATE FUNCTION instance_tokens() RETURNS TABLE (
    mime_type text, ending text, files bigint, bytes bigint, fresh bigint,
    embedded_tokens bigint, model_input_tokens bigint, model_output_tokens bigint
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH lately AS (
        SELECT f.user_id, f.file_id, f.mime_type, ending_of(f.name) AS ending, f.size,
            coalesce(f.sha256_checksum, f.md5_checksum, f.file_id) AS content
        FROM gdrive_files f
        WHERE f.first_seen_at > app_now() - interval '28 days' AND f.size > 0 AND f.state IN ('indexed', 'skipped')
        ORDER BY f.state_at DESC LIMIT 20000
    ),
    once AS ( -- an edited file has been received more than once, and embedded in parts
        SELECT l.mime_type, l.ending, l.size,
            row_number() OVER (PARTITION BY l.user_id, l.content ORDER BY l.file_id) = 1 AS fresh,
            c.embedded_tokens, c.model_input_tokens, c.model_output_tokens
        FROM lately l CROSS JOIN LATERAL (
            SELECT sum(drive_bytes) AS received, sum(costs.embedded_tokens) AS embedded_tokens,
                sum(costs.model_input_tokens) AS model_input_tokens,
                sum(costs.model_output_tokens) AS model_output_tokens
            FROM costs WHERE costs.user_id = l.user_id AND costs.file_id = l.file_id
        ) c
        WHERE c.received = l.size
    )
    SELECT o.mime_type, o.ending, count(*), sum(o.size)::bigint, count(*) FILTER (WHERE o.fresh),
        sum(o.embedded_tokens)::bigint, sum(o.model_input_tokens)::bigint, sum(o.model_output_tokens)::bigint
    FROM once o GROUP BY o.mime_type, o.ending, width_bucket(ln(o.size), 0, ln(2) * 52, 52)
    HAVING count(*) >= 5
$$;
COMMENT ON FUNCTION instance_tokens() IS
    'What files that came in the last four weeks and were read once took, by type and size, in numbers only; of what few have nothing.';

-- Which folders are read ----------------------------------------------------------------------------------------------

CREATE FUNCTION outside_selection(file text, drive text, above text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH RECURSIVE chosen AS (
        SELECT selected_folders AS folders FROM settings
        WHERE user_id = app_user_id() AND selected_folders <> '{}'
    ),
    up AS (
        SELECT unnest(above) AS folder FROM chosen
        UNION
        SELECT unnest(f.parents) FROM up JOIN gdrive_files f ON f.user_id = app_user_id() AND f.file_id = up.folder
    )
    SELECT NOT (
        file = ANY (c.folders) OR coalesce(drive = ANY (c.folders), false)
        OR EXISTS (SELECT FROM up WHERE up.folder = ANY (c.folders))
        OR EXISTS (SELECT FROM gdrive_files s
            WHERE s.user_id = app_user_id() AND s.shortcut_target_id = file AND s.state <> 'deleted'
                AND s.reason_code IS DISTINCT FROM 'outside_folders'))
    FROM chosen c
$$;
COMMENT ON FUNCTION outside_selection(text, text, text[]) IS
    'Whether a file lies outside every selected folder and no shortcut inside leads to it; NULL without a selection.';

-- Search -------------------------------------------------------------------------------------------------------------
-- SECURITY DEFINER with its own person filter: under a policy `@@` is not leakproof and would not use its GIN index.
-- Reciprocal rank fusion of meaning, words, the exact phrase, parts of words and the file's name. docs/search.md.

CREATE FUNCTION file_fits(
    f gdrive_files, kinds text[], folders text[], owner text, since timestamptz, until timestamptz, drive text
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT (kinds IS NULL OR f.mime_type LIKE ANY (kinds))
        AND (folders IS NULL OR f.parents && folders)
        AND (owner IS NULL OR CASE owner WHEN 'me' THEN coalesce(f.owned_by_me, false)
            ELSE lower(coalesce(f.owners, '[]')::text)::jsonb
                @> jsonb_build_array(jsonb_build_object('emailaddress', lower(owner))) END)
        AND (since IS NULL OR f.modified_time >= since)
        AND (until IS NULL OR f.modified_time < until)
        AND (drive IS NULL OR CASE drive WHEN 'my-drive' THEN f.drive_id IS NULL ELSE f.drive_id = drive END)
$$;
COMMENT ON FUNCTION file_fits(gdrive_files, text[], text[], text, timestamptz, timestamptz, text) IS
    'Whether a file passes the filters of a search; NULL filters nothing. `kinds` are LIKE patterns of MIME types.';

CREATE FUNCTION folders_below(top text) RETURNS text[] LANGUAGE sql STABLE AS $$
    WITH RECURSIVE below AS (
        SELECT top AS folder WHERE top IS NOT NULL
        UNION
        SELECT f.file_id FROM below JOIN gdrive_files f
            ON f.user_id = app_user_id() AND f.parents @> ARRAY[below.folder] AND f.state = 'folder'
    )
    SELECT array_agg(folder) FROM below
$$;
COMMENT ON FUNCTION folders_below(text) IS 'A folder and every folder of this person below it; NULL for NULL.';

CREATE FUNCTION nearest_passages(
    query_vector halfvec(768), query_model text, wanted integer, kinds text[] DEFAULT NULL, folders text[] DEFAULT NULL,
    owner text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, drive text DEFAULT NULL,
    entity_kind text DEFAULT NULL, entity_name text DEFAULT NULL, besides text DEFAULT NULL
) RETURNS TABLE (job_id uuid, index bigint, ordinal integer, file_id text, distance double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan
    SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.ef_search = 200
    SET hnsw.max_scan_tuples = 40000 SET hnsw.scan_mem_multiplier = 4
    SET enable_seqscan = off SET enable_sort = off -- the order must come from the index, not from reading everything
    AS $$
#variable_conflict use_column
DECLARE
    person CONSTANT uuid := app_user_id();
    -- To find `wanted` of F rows among the N of an index, it is walked past wanted * N / F of them; reading the F costs
    -- F. So up to the root of wanted * N every one is compared, which also finds all of a person who has little.
    affordable CONSTANT integer := (SELECT least(50000, greatest(1000, ceil(sqrt(wanted * greatest(c.reltuples, 0)))))
        FROM pg_class c WHERE c.oid = to_regclass('memories_by_meaning_' || slot_of(person)));
    narrow CONSTANT boolean := coalesce(kinds[1], folders[1], owner, since::text, until::text, drive, entity_kind, besides)
        IS NOT NULL;
    few boolean;
BEGIN
    IF query_vector IS NULL OR person IS NULL THEN
        RETURN;
    ELSIF narrow THEN
        SELECT count(*) < affordable INTO few FROM (
            SELECT FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id
            WHERE f.user_id = person AND file_fits(f, kinds, folders, owner, since, until, drive)
                AND (besides IS NULL OR f.file_id <> besides)
                AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
            LIMIT affordable) counted;
    ELSE
        SELECT count(*) < affordable INTO few FROM (
            SELECT FROM memories m WHERE m.user_id = person LIMIT affordable) counted;
    END IF;
    IF few THEN
        RETURN QUERY
        SELECT m.job_id, m.index, m.ordinal, m.file_id, (m.embedding <=> query_vector) + 0
        FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id
        WHERE f.user_id = person AND m.user_id = person AND m.model = query_model AND m.embedding IS NOT NULL
            AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (besides IS NULL OR f.file_id <> besides)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
        ORDER BY (m.embedding <=> query_vector) + 0, m.job_id, m.index, m.ordinal LIMIT wanted;
    ELSE
        -- The slot is written into the statement: of a parameter the planner cannot say which index covers it.
        RETURN QUERY EXECUTE format($statement$
            SELECT m.job_id, m.index, m.ordinal, m.file_id, m.embedding <=> $2
            FROM memories m JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
            WHERE slot_of(m.user_id) = %s AND m.user_id = $1 AND m.model = $3
                AND file_fits(f, $5, $6, $7, $8, $9, $10)
                AND ($13 IS NULL OR f.file_id <> $13)
                AND ($11 IS NULL OR EXISTS (SELECT FROM entities e
                    WHERE e.user_id = $1 AND e.kind = $11 AND e.key = entity_key($12)
                        AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
            ORDER BY m.embedding <=> $2 LIMIT $4 $statement$, slot_of(person))
        USING person, query_vector, query_model, wanted, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name, besides;
    END IF;
END
$$;
COMMENT ON FUNCTION nearest_passages IS
    'The visible passages of this person nearest to a vector, from the index or, where few are asked about, from all.';

CREATE FUNCTION passages_with(
    sieve tsquery, sought tsquery, most integer, kinds text[], folders text[], owner text, since timestamptz,
    until timestamptz, drive text, entity_kind text, entity_name text
) RETURNS SETOF memories LANGUAGE sql STABLE AS $$
    SELECT m.*
    -- Fenced by OFFSET, with a person filter that no B-tree can take: only the GIN index is left.
    FROM (SELECT * FROM memories WHERE words_of(user_id, words) @@ sought_of(app_user_id(), sieve)
            AND (user_id = app_user_id()) IS TRUE AND (words @@ sought) IS TRUE OFFSET 0) m
    JOIN gdrive_files f ON f.visible_job = m.job_id AND f.user_id = m.user_id
    WHERE file_fits(f, kinds, folders, owner, since, until, drive)
        AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
            WHERE e.user_id = app_user_id() AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                AND e.job_id = m.job_id AND e.index = m.index AND e.ordinal = m.ordinal))
    LIMIT most
$$;
COMMENT ON FUNCTION passages_with IS
    'So many of the person''s passages that match a query, whichever come first. The index is asked for what it is sieved by.';

CREATE FUNCTION search_passages(
    query text, query_vector halfvec(768), query_model text, result_limit integer, candidates integer DEFAULT 60,
    parts text DEFAULT NULL, run text DEFAULT NULL, kinds text[] DEFAULT NULL, folder text DEFAULT NULL,
    owner text DEFAULT NULL, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, drive text DEFAULT NULL,
    entity_kind text DEFAULT NULL, entity_name text DEFAULT NULL
) RETURNS TABLE (
    file_id text, job_id uuid, index bigint, ordinal integer, passage text, locator jsonb, score double precision,
    matched text[]
)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
    AS $$
#variable_conflict use_column
DECLARE
    -- What a place in a list is worth: 1 / (constant + place). A small constant is a list that is believed.
    by_meaning CONSTANT integer := 60;
    by_words CONSTANT integer := 40;
    by_phrase CONSTANT integer := 30;
    by_name CONSTANT integer := 20;
    by_parts CONSTANT integer := 50; -- before meaning: below the last of its list no part would be seen
    sentence_bonus CONSTANT double precision := 1; -- several words that stand as they were typed are what was looked for
    farthest CONSTANT double precision := 0.98; -- cosine distance of what has nothing to do with the query
    -- At most so many passages with all the words are compared with each other: each of them is read.
    ranked CONSTANT integer := CASE WHEN query_vector IS NULL THEN 300 ELSE 100 END;
    -- Each further neighbour is as long a walk through those of everybody, and the last ones decide nothing.
    neighbours CONSTANT integer := greatest(result_limit, candidates * 2 / 5);
    -- Passages with some of the words: never so many that they fill a page before what is near in meaning.
    loose CONSTANT integer := CASE WHEN query_vector IS NULL THEN candidates ELSE 5 END;
    person CONSTANT uuid := app_user_id();
    -- Terms have the person before them in the passage, too: they are no words that somebody could have typed.
    mark CONSTANT text := left(person::text, 8) || '|';
    plain CONSTANT tsquery := websearch_to_tsquery('simple', query);
    stems CONSTANT tsquery := websearch_to_tsquery('english', query);
    asked CONSTANT tsquery := plain || stems;
    -- What the index is asked for: what has all the words has all their stems, and these are half as many.
    sieve CONSTANT tsquery := CASE WHEN numnode(stems) > 0 AND plain::text !~ '[!|]' THEN stems ELSE asked END;
    phrase CONSTANT tsquery := phraseto_tsquery('simple', query);
    resembling CONSTANT tsquery := replace(parts, '@', mark)::tsquery;
    -- Any of the words, English ones without those that say nothing, and of the terms those that are no ASCII. Not for
    -- who excludes a word or asks for it as it stands.
    loosely CONSTANT tsquery := CASE WHEN asked::text NOT LIKE '%!%' AND strpos(query, '"') = 0 THEN
        replace(plainto_tsquery('english', query)::text, '&', '|')::tsquery || coalesce((
            SELECT string_agg(replace(part, '@', mark), ' | ') FROM regexp_split_to_table(parts, ' & ') part
            WHERE octet_length(part) > length(part)), '')::tsquery END;
    -- Two of them, of the eight longest: what has one word alone, and be it a common one, is looked at only after that.
    paired CONSTANT tsquery := CASE WHEN loosely IS NOT NULL THEN (
        WITH longest AS (
            SELECT '''' || replace(replace(word, '\', '\\'), '''', '''''') || '''' AS word
            FROM unnest(tsvector_to_array(to_tsvector('english', query))) word ORDER BY length(word) DESC, word LIMIT 8)
        SELECT coalesce(string_agg(one.word || ' & ' || other.word, ' | '), '')::tsquery
        FROM longest one JOIN longest other ON one.word < other.word WHERE (SELECT count(*) FROM longest) > 2) END;
    folders CONSTANT text[] := CASE WHEN folder IS NOT NULL THEN folders_below(folder) END;
BEGIN
    RETURN QUERY
    WITH meaning AS (
        SELECT n.job_id, n.index, n.ordinal, n.file_id,
               row_number() OVER (ORDER BY n.distance, n.job_id, n.index, n.ordinal) AS place
        FROM nearest_passages(query_vector, query_model, neighbours, kinds, folders, owner, since, until, drive,
            entity_kind, entity_name) n
        WHERE n.distance < farthest
    ),
    matching AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank_cd(m.words, asked, 1) AS rank,
               numnode(phrase) > 0 AND m.words @@ phrase AS exact
        FROM passages_with(sieve, asked, ranked, kinds, folders, owner, since, until, drive, entity_kind, entity_name) m
        WHERE numnode(asked) > 0
    ),
    worded AS MATERIALIZED (
        SELECT * FROM (
            SELECT * FROM matching
            UNION
            -- Words that are nearly everywhere: what is near in meaning is ranked by them in any case.
            SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank_cd(m.words, asked, 1),
                numnode(phrase) > 0 AND m.words @@ phrase
            FROM meaning n JOIN memories m ON m.job_id = n.job_id AND m.index = n.index AND m.ordinal = n.ordinal
            WHERE m.user_id = person AND (m.words @@ asked) IS TRUE AND (SELECT count(*) FROM matching) = ranked
        ) m
        ORDER BY exact DESC, rank DESC, job_id, index, ordinal LIMIT candidates
    ),
    words AS (
        SELECT w.job_id, w.index, w.ordinal, w.file_id, w.exact,
               row_number() OVER (ORDER BY w.exact DESC, w.rank DESC, w.job_id, w.index, w.ordinal) AS place
        FROM worded w
    ),
    -- Runs of a script without spaces, words that begin or end so, words without their accents: where words find little.
    parted AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, run IS NOT NULL AND strpos(m.passage, run) > 0 AS whole,
               ts_rank(m.words, resembling, 1) AS rank
        FROM passages_with(resembling, resembling, ranked, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name) m
        WHERE numnode(resembling) > 0 AND (SELECT count(*) FROM worded) < result_limit
            AND NOT EXISTS (SELECT FROM worded w
                WHERE w.job_id = m.job_id AND w.index = m.index AND w.ordinal = m.ordinal)
        ORDER BY whole DESC, rank DESC, m.job_id, m.index, m.ordinal LIMIT candidates
    ),
    parts AS (
        SELECT p.job_id, p.index, p.ordinal, p.file_id, p.whole,
               row_number() OVER (ORDER BY p.whole DESC, p.rank DESC, p.job_id, p.index, p.ordinal) AS place
        FROM parted p
    ),
    named AS (
        SELECT f.file_id, f.visible_job AS job_id,
               row_number() OVER (ORDER BY ts_rank_cd(f.name_words, asked, 1) DESC, f.modified_time DESC, f.file_id)
                   AS place
        FROM gdrive_files f
        WHERE f.user_id = person AND f.name_words @@ asked AND f.state NOT IN ('deleted', 'folder')
            AND file_fits(f, kinds, folders, owner, since, until, drive)
            AND (entity_kind IS NULL OR EXISTS (SELECT FROM entities e
                WHERE e.user_id = person AND e.kind = entity_kind AND e.key = entity_key(entity_name)
                    AND e.job_id = f.visible_job))
        LIMIT candidates
    ),
    -- Where nothing has all of it, in its words, their parts or a name: what has most of it.
    nothing AS MATERIALIZED (
        SELECT NOT EXISTS (SELECT FROM worded) AND NOT EXISTS (SELECT FROM parted) AND NOT EXISTS (SELECT FROM named)
            AS found
    ),
    coupled AS MATERIALIZED (
        SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank(m.words, loosely) AS rank
        FROM passages_with(paired, paired, ranked, kinds, folders, owner, since, until, drive, entity_kind,
            entity_name) m
        WHERE numnode(paired) > 0 AND (SELECT found FROM nothing)
    ),
    scattered AS MATERIALIZED (
        SELECT * FROM (
            SELECT * FROM coupled
            UNION
            SELECT m.job_id, m.index, m.ordinal, m.file_id, ts_rank(m.words, loosely)
            FROM passages_with(loosely, loosely, ranked, kinds, folders, owner, since, until, drive, entity_kind,
                entity_name) m
            WHERE numnode(loosely) > 0 AND (SELECT found FROM nothing)
                AND (query_vector IS NULL OR NOT EXISTS (SELECT FROM coupled))
        ) m
        ORDER BY rank DESC, job_id, index, ordinal LIMIT loose
    ),
    fragments AS (
        SELECT s.job_id, s.index, s.ordinal, s.file_id,
               row_number() OVER (ORDER BY s.rank DESC, s.job_id, s.index, s.ordinal) AS place
        FROM scattered s
    ),
    places AS (
        SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_meaning + place) AS points, 'meaning' AS list
        FROM meaning p
        UNION ALL SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_words + place), 'words' FROM words p
        UNION ALL
        SELECT p.job_id, p.index, p.ordinal, p.file_id,
            1.0 / (by_phrase + place) + CASE WHEN numnode(phrase) > 1 THEN sentence_bonus ELSE 0 END, 'phrase'
        FROM words p WHERE exact
        UNION ALL
        -- What stands whole in a script without spaces is a word like any other.
        SELECT p.job_id, p.index, p.ordinal, p.file_id,
            1.0 / (CASE WHEN whole THEN by_words ELSE by_parts END + place), CASE WHEN whole THEN 'words' ELSE 'parts' END
        FROM parts p
        UNION ALL SELECT p.job_id, p.index, p.ordinal, p.file_id, 1.0 / (by_words + place), 'some' FROM fragments p
        UNION ALL
        -- A name speaks for the file's first passage, or for the file alone while it has none.
        SELECT n.job_id, first.index, first.ordinal, n.file_id, 1.0 / (by_name + n.place), 'name'
        FROM named n LEFT JOIN LATERAL (
            SELECT m.index, m.ordinal FROM memories m
            WHERE m.job_id = n.job_id AND m.user_id = person ORDER BY m.index, m.ordinal LIMIT 1
        ) first ON true
    ),
    fused AS (
        SELECT p.file_id, p.job_id, p.index, p.ordinal, sum(p.points)::double precision AS score,
               array_agg(DISTINCT p.list ORDER BY p.list) AS matched
        FROM places p GROUP BY p.file_id, p.job_id, p.index, p.ordinal
        ORDER BY score DESC, p.file_id, p.index, p.ordinal LIMIT result_limit
    )
    SELECT u.file_id, u.job_id, u.index, u.ordinal, m.passage, m.locator, u.score, u.matched
    FROM fused u LEFT JOIN memories m
        ON m.job_id = u.job_id AND m.index = u.index AND m.ordinal = u.ordinal AND m.user_id = person
    ORDER BY u.score DESC, u.file_id, u.index, u.ordinal;
END
$$;

CREATE FUNCTION similar_passages(of_file text, of_index bigint, of_ordinal integer, result_limit integer)
RETURNS TABLE (
    file_id text, job_id uuid, index bigint, ordinal integer, passage text, locator jsonb, score double precision
)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH near AS (
        SELECT n.*
        FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id
        CROSS JOIN LATERAL nearest_passages(m.embedding, m.model, 5 * result_limit, besides => of_file) n
        WHERE f.user_id = app_user_id() AND f.file_id = of_file AND m.index = of_index AND m.ordinal = of_ordinal
    ),
    -- The best place of each file: ten times the same file is not ten things to read.
    best AS (SELECT DISTINCT ON (n.file_id) n.* FROM near n ORDER BY n.file_id, n.distance, n.index, n.ordinal)
    SELECT b.file_id, b.job_id, b.index, b.ordinal, m.passage, m.locator, 1 - b.distance
    FROM best b JOIN memories m
        ON m.job_id = b.job_id AND m.index = b.index AND m.ordinal = b.ordinal AND m.user_id = app_user_id()
    ORDER BY b.distance, b.file_id LIMIT result_limit
$$;
COMMENT ON FUNCTION similar_passages(text, bigint, integer, integer) IS
    'The places of other files of this person that are nearest to a passage of theirs, by its stored vector.';

-- Who may see and do what ----------------------------------------------------------------------------------------------

DO $$
DECLARE
    personal text;
    doors text[] := ARRAY['users', 'signin_codes', 'sessions', 'vouched_people', 'tallies'];
    searched text[] := ARRAY['memories', 'entities', 'gdrive_files', 'gdrive_censuses', 'gdrive_census_findings', 'gdrive_webhooks', 'costs'];
BEGIN
    FOREACH personal IN ARRAY ARRAY['users', 'user_google_credentials', 'settings', 'signin_codes', 'sessions',
        'gdrive_files', 'gdrive_jobs', 'gdrive_chunks', 'memories', 'entities', 'relations', 'gdrive_webhooks',
        'file_events', 'costs', 'forecasts', 'reservations', 'paid_pages', 'paid_vectors', 'pauses', 'gdrive_audit_log',
        'gdrive_censuses', 'gdrive_census_findings', 'idempotent_requests', 'vouched_people', 'tallies']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', personal);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', personal);
        EXECUTE format('CREATE POLICY own_rows ON %I FOR ALL TO drivestream_worker
            USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY own_rows_read ON %I FOR SELECT TO drivestream_reader
            USING (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY all_rows ON %I FOR ALL TO drivestream_caretaker
            USING (true) WITH CHECK (true)', personal);
        EXECUTE format('GRANT SELECT ON %I TO drivestream_worker, drivestream_caretaker', personal);
        IF personal <> 'user_google_credentials' THEN
            EXECUTE format('GRANT SELECT ON %I TO drivestream_reader', personal);
        END IF;
        IF personal = ANY (doors) THEN
            EXECUTE format('CREATE POLICY doors ON %I FOR ALL TO drivestream_definer
                USING (true) WITH CHECK (true)', personal);
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO drivestream_definer', personal);
        ELSIF personal = ANY (searched) THEN
            EXECUTE format('CREATE POLICY search ON %I FOR SELECT TO drivestream_definer USING (true)', personal);
            EXECUTE format('GRANT SELECT ON %I TO drivestream_definer', personal);
        END IF;
        IF personal = 'gdrive_audit_log' THEN -- append only, except that an erased person leaves nothing
            EXECUTE format('GRANT INSERT ON %I TO drivestream_worker', personal);
            EXECUTE format('GRANT INSERT, DELETE ON %I TO drivestream_caretaker', personal);
        ELSIF personal <> 'tallies' THEN -- counted by triggers alone
            EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO drivestream_worker, drivestream_caretaker', personal);
        END IF;
    END LOOP;
END
$$;

CREATE POLICY own_settings ON settings FOR ALL TO drivestream_reader
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
GRANT INSERT, UPDATE ON settings TO drivestream_reader;
CREATE POLICY own_requests ON idempotent_requests FOR ALL TO drivestream_reader
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
GRANT INSERT, UPDATE, DELETE ON idempotent_requests TO drivestream_reader;
GRANT SELECT, INSERT, DELETE ON vouchers TO drivestream_definer;
GRANT SELECT, INSERT ON receipts TO drivestream_caretaker;
GRANT SELECT ON receipts TO drivestream_reader;
GRANT SELECT, INSERT, UPDATE ON pressure TO drivestream_worker;
GRANT SELECT ON pressure TO drivestream_reader, drivestream_caretaker;
GRANT SELECT ON quota_standings TO drivestream_reader;
GRANT SELECT, INSERT, UPDATE ON quota_standings TO drivestream_caretaker;

ALTER FUNCTION connect_person(text, text, text) OWNER TO drivestream_definer;
ALTER FUNCTION redeem_signin(bytea, bytea, double precision) OWNER TO drivestream_definer;
ALTER FUNCTION person_of_session(bytea) OWNER TO drivestream_definer;
ALTER FUNCTION end_session(bytea) OWNER TO drivestream_definer;
ALTER FUNCTION ask_to_be_forgotten() OWNER TO drivestream_definer;
ALTER FUNCTION stand_still() OWNER TO drivestream_definer;
ALTER FUNCTION channel_totals() OWNER TO drivestream_definer;
ALTER FUNCTION census_totals() OWNER TO drivestream_definer;
ALTER FUNCTION instance_pace() OWNER TO drivestream_definer;
ALTER FUNCTION instance_tokens() OWNER TO drivestream_definer;
ALTER FUNCTION fold_tallies(uuid) OWNER TO drivestream_definer;
ALTER FUNCTION tally_files() OWNER TO drivestream_definer;
ALTER FUNCTION tally_bytes() OWNER TO drivestream_definer;
ALTER FUNCTION tally_chunks() OWNER TO drivestream_definer;
ALTER FUNCTION fold_now_and_then() OWNER TO drivestream_definer;
ALTER FUNCTION nearest_passages OWNER TO drivestream_definer;
ALTER FUNCTION search_passages OWNER TO drivestream_definer;
ALTER FUNCTION similar_passages OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION connect_person(text, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION redeem_signin(bytea, bytea, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION person_of_session(bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION end_session(bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION ask_to_be_forgotten() FROM PUBLIC;
REVOKE ALL ON FUNCTION stand_still() FROM PUBLIC;
REVOKE ALL ON FUNCTION channel_totals() FROM PUBLIC;
REVOKE ALL ON FUNCTION census_totals() FROM PUBLIC;
REVOKE ALL ON FUNCTION instance_pace() FROM PUBLIC;
REVOKE ALL ON FUNCTION instance_tokens() FROM PUBLIC;
REVOKE ALL ON FUNCTION fold_tallies(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_files() FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_bytes() FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_chunks() FROM PUBLIC;
REVOKE ALL ON FUNCTION fold_now_and_then() FROM PUBLIC;
REVOKE ALL ON FUNCTION nearest_passages FROM PUBLIC;
REVOKE ALL ON FUNCTION search_passages FROM PUBLIC;
REVOKE ALL ON FUNCTION similar_passages FROM PUBLIC;
GRANT EXECUTE ON FUNCTION connect_person(text, text, text) TO drivestream_worker;
GRANT EXECUTE ON FUNCTION redeem_signin(bytea, bytea, double precision) TO drivestream_reader;
GRANT EXECUTE ON FUNCTION person_of_session(bytea) TO drivestream_reader;
GRANT EXECUTE ON FUNCTION end_session(bytea) TO drivestream_reader;
GRANT EXECUTE ON FUNCTION ask_to_be_forgotten() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION stand_still() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION channel_totals() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION census_totals() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION instance_pace() TO drivestream_worker;
GRANT EXECUTE ON FUNCTION instance_tokens() TO drivestream_worker;
GRANT EXECUTE ON FUNCTION search_passages TO drivestream_reader;
GRANT EXECUTE ON FUNCTION similar_passages TO drivestream_reader;
ALTER FUNCTION offer_voucher(bytea, text, text, text, text, double precision) OWNER TO drivestream_definer;
ALTER FUNCTION redeem_voucher(bytea) OWNER TO drivestream_definer;
ALTER FUNCTION person_vouched(text, text) OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION offer_voucher(bytea, text, text, text, text, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION redeem_voucher(bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION person_vouched(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION offer_voucher(bytea, text, text, text, text, double precision) TO drivestream_reader;
GRANT EXECUTE ON FUNCTION redeem_voucher(bytea) TO drivestream_worker;
GRANT EXECUTE ON FUNCTION person_vouched(text, text) TO drivestream_reader;
