-- Selected folders are enforced, a census is written down, and each file knows when it changed and when we saw it.

ALTER TABLE gdrive_files ADD COLUMN changed_at timestamptz;
ALTER TABLE gdrive_files ADD COLUMN found_at timestamptz;
CREATE INDEX gdrive_files_by_target ON gdrive_files (user_id, shortcut_target_id) WHERE shortcut_target_id IS NOT NULL;

ALTER TABLE gdrive_webhooks ADD COLUMN silent_at timestamptz;
CREATE POLICY search ON gdrive_webhooks FOR SELECT TO drivestream_definer USING (true);
GRANT SELECT ON gdrive_webhooks TO drivestream_definer;

ALTER TABLE settings ADD COLUMN folders_due boolean NOT NULL DEFAULT false;

CREATE TABLE gdrive_censuses (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    began_at timestamptz NOT NULL,
    finished_at timestamptz,
    compared bigint,
    incomplete boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, corpus)
);

CREATE TABLE gdrive_census_findings (
    user_id uuid NOT NULL,
    corpus text NOT NULL,
    file_id text NOT NULL,
    finding text NOT NULL CHECK (finding IN ('missing', 'stale', 'surplus')),
    found_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, corpus, file_id),
    FOREIGN KEY (user_id, corpus) REFERENCES gdrive_censuses ON DELETE CASCADE
);

DO $$
DECLARE
    personal text;
BEGIN
    FOREACH personal IN ARRAY ARRAY['gdrive_censuses', 'gdrive_census_findings'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', personal);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', personal);
        EXECUTE format('CREATE POLICY own_rows ON %I FOR ALL TO drivestream_worker
            USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY own_rows_read ON %I FOR SELECT TO drivestream_reader
            USING (user_id = app_user_id())', personal);
        EXECUTE format('CREATE POLICY all_rows ON %I FOR ALL TO drivestream_caretaker
            USING (true) WITH CHECK (true)', personal);
        EXECUTE format('GRANT SELECT ON %I TO drivestream_worker, drivestream_caretaker, drivestream_reader', personal);
        EXECUTE format('CREATE POLICY search ON %I FOR SELECT TO drivestream_definer USING (true)', personal);
        EXECUTE format('GRANT SELECT ON %I TO drivestream_definer', personal);
        EXECUTE format('GRANT INSERT, UPDATE, DELETE ON %I TO drivestream_worker, drivestream_caretaker', personal);
    END LOOP;
END
$$;

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

ALTER FUNCTION stand_still() OWNER TO drivestream_definer;
ALTER FUNCTION channel_totals() OWNER TO drivestream_definer;
ALTER FUNCTION census_totals() OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION stand_still() FROM PUBLIC;
REVOKE ALL ON FUNCTION channel_totals() FROM PUBLIC;
REVOKE ALL ON FUNCTION census_totals() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stand_still() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION channel_totals() TO drivestream_reader;
GRANT EXECUTE ON FUNCTION census_totals() TO drivestream_reader;
