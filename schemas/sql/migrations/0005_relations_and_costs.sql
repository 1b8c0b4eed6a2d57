-- How the named are related, and one entity of a person for all spellings.

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

CREATE FUNCTION entity_key(name text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT lower(btrim(regexp_replace(normalize(name, NFKC), '\s+', ' ', 'g'))) $$;
COMMENT ON FUNCTION entity_key(text) IS 'One spelling for all: a person has one entity of a kind and key, in however many files.';

DO $$
DECLARE
    personal text;
BEGIN
    FOREACH personal IN ARRAY ARRAY['relations']
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
