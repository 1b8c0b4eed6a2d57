-- What reading a Drive will take, said before anything of it is read; and whether the person has said that it may begin.

-- NULL: nobody asked, it is read as it is listed. 'asks': listed only, until the person says so. 'due': they have, and
-- not every file has been put to work yet. 'begun': every file has.
ALTER TABLE settings ADD COLUMN reading text CHECK (reading IN ('asks', 'due', 'begun'));
-- While it is 'due': behind which file, newest first, the next one is put to work.
ALTER TABLE settings ADD COLUMN reading_from timestamptz;
ALTER TABLE settings ADD COLUMN reading_from_id text;

CREATE TABLE forecasts (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    kind text NOT NULL,
    files bigint NOT NULL,
    listed_bytes bigint NOT NULL,
    expected jsonb NOT NULL,
    made_at timestamptz NOT NULL DEFAULT app_now(),
    PRIMARY KEY (user_id, corpus, kind)
);

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

ALTER TABLE forecasts ENABLE ROW LEVEL SECURITY;
ALTER TABLE forecasts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON forecasts FOR ALL TO drivestream_worker
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
CREATE POLICY own_rows_read ON forecasts FOR SELECT TO drivestream_reader USING (user_id = app_user_id());
CREATE POLICY all_rows ON forecasts FOR ALL TO drivestream_caretaker USING (true) WITH CHECK (true);
GRANT SELECT ON forecasts TO drivestream_worker, drivestream_reader, drivestream_caretaker;
GRANT INSERT, UPDATE, DELETE ON forecasts TO drivestream_worker, drivestream_caretaker;
ALTER FUNCTION instance_pace() OWNER TO drivestream_definer;
REVOKE ALL ON FUNCTION instance_pace() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION instance_pace() TO drivestream_worker;
