-- A client may repeat a request safely, and another dashboard may vouch for its own people.
CREATE TABLE idempotent_requests (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer,
    answer text,
    made_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotent_requests_by_age ON idempotent_requests (made_at);

CREATE TABLE vouchers (
    voucher_hash bytea PRIMARY KEY,
    caller text NOT NULL,
    person text NOT NULL,
    email text NOT NULL,
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

DO $$
DECLARE
    personal text;
BEGIN
    FOREACH personal IN ARRAY ARRAY['idempotent_requests', 'vouched_people']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', personal);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', personal);
        EXECUTE format('CREATE POLICY own_rows ON %I FOR ALL TO drivestream_worker
            USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY own_rows_read ON %I FOR SELECT TO drivestream_reader
            USING (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY all_rows ON %I FOR ALL TO drivestream_caretaker
            USING (true) WITH CHECK (true)', personal);
        EXECUTE format('GRANT SELECT ON %I TO drivestream_worker, drivestream_reader, drivestream_caretaker', personal);
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO drivestream_worker, drivestream_caretaker', personal);
    END LOOP;
END
$$;
CREATE POLICY doors ON vouched_people FOR ALL TO drivestream_definer USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON vouched_people TO drivestream_definer;
GRANT SELECT, INSERT, DELETE ON vouchers TO drivestream_definer;
CREATE POLICY own_requests ON idempotent_requests FOR ALL TO drivestream_reader
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
GRANT INSERT, UPDATE, DELETE ON idempotent_requests TO drivestream_reader;
ALTER FUNCTION offer_voucher(bytea, text, text, text, text, double precision) OWNER TO drivestream_definer;
ALTER FUNCTION redeem_voucher(bytea) OWNER TO drivestream_definer;
ALTER FUNCTION person_vouched(text, text) OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION offer_voucher(bytea, text, text, text, text, double precision) FROM PUBLIC;
REVOKE ALL ON FUNCTION redeem_voucher(bytea) FROM PUBLIC;
REVOKE ALL ON FUNCTION person_vouched(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION offer_voucher(bytea, text, text, text, text, double precision) TO drivestream_reader;
GRANT EXECUTE ON FUNCTION redeem_voucher(bytea) TO drivestream_worker;
GRANT EXECUTE ON FUNCTION person_vouched(text, text) TO drivestream_reader;
