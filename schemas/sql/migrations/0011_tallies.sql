-- What each person has, counted as it changes: a page that says how far it is must not count eight million rows.

CREATE OR REPLACE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE
    -- CASE, not coalesce: of that the planner believes under row level security that it may tell, and uses no index.
    AS $$ SELECT now() + CASE WHEN nullif(current_setting('app.clock_offset', true), '') IS NULL THEN interval '0'
        ELSE current_setting('app.clock_offset', true)::interval END $$;

CREATE TABLE tallies (
    tally_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    what text NOT NULL CHECK (what IN ('files', 'seen', 'bytes', 'chunks')),
    state text,
    reason_code text,
    count bigint NOT NULL DEFAULT 0,
    amount bigint NOT NULL DEFAULT 0,
    latest timestamptz
);
CREATE INDEX tallies_by_user ON tallies (user_id);
CREATE INDEX gdrive_chunks_by_user ON gdrive_chunks (user_id, recorded_at);

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

ALTER TABLE tallies ENABLE ROW LEVEL SECURITY;
ALTER TABLE tallies FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON tallies FOR ALL TO drivestream_worker
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
CREATE POLICY own_rows_read ON tallies FOR SELECT TO drivestream_reader USING (user_id = app_user_id());
CREATE POLICY all_rows ON tallies FOR ALL TO drivestream_caretaker USING (true) WITH CHECK (true);
CREATE POLICY doors ON tallies FOR ALL TO drivestream_definer USING (true) WITH CHECK (true);
GRANT SELECT ON tallies TO drivestream_worker, drivestream_reader, drivestream_caretaker;
GRANT SELECT, INSERT, UPDATE, DELETE ON tallies TO drivestream_definer;
ALTER FUNCTION fold_tallies(uuid) OWNER TO drivestream_definer;
ALTER FUNCTION tally_files() OWNER TO drivestream_definer;
ALTER FUNCTION tally_bytes() OWNER TO drivestream_definer;
ALTER FUNCTION tally_chunks() OWNER TO drivestream_definer;
ALTER FUNCTION fold_now_and_then() OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION fold_tallies(uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_files() FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_bytes() FROM PUBLIC;
REVOKE ALL ON FUNCTION tally_chunks() FROM PUBLIC;
REVOKE ALL ON FUNCTION fold_now_and_then() FROM PUBLIC;

-- What is there already. The migrator owns these tables and reads them for everybody, this once.
ALTER TABLE gdrive_files NO FORCE ROW LEVEL SECURITY;
ALTER TABLE gdrive_jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE gdrive_chunks NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tallies NO FORCE ROW LEVEL SECURITY;
INSERT INTO tallies (user_id, what, state, reason_code, count, amount, latest)
SELECT user_id, 'files', state, reason_code, count(*), coalesce(sum(size), 0), max(indexed_at)
FROM gdrive_files GROUP BY user_id, state, reason_code
UNION ALL SELECT user_id, 'seen', NULL, NULL, 0, 0, max(seen_at) FROM gdrive_files GROUP BY user_id
UNION ALL SELECT user_id, 'bytes', NULL, NULL, 0, sum(bytes_read), max(updated_at) FROM gdrive_jobs GROUP BY user_id
UNION ALL SELECT user_id, 'chunks', NULL, NULL, count(*), sum(passages), max(recorded_at) FROM gdrive_chunks GROUP BY user_id;
ALTER TABLE gdrive_files FORCE ROW LEVEL SECURITY;
ALTER TABLE gdrive_jobs FORCE ROW LEVEL SECURITY;
ALTER TABLE gdrive_chunks FORCE ROW LEVEL SECURITY;
ALTER TABLE tallies FORCE ROW LEVEL SECURITY;
