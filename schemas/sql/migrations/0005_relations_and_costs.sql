-- How the named are related, one entity of a person for all spellings, and costs that can be capped.

CREATE FUNCTION entity_key(name text) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$ SELECT lower(btrim(regexp_replace(normalize(name, NFKC), '\s+', ' ', 'g'))) $$;
COMMENT ON FUNCTION entity_key(text) IS 'One spelling for all: a person has one entity of a kind and key, in however many files.';

ALTER TABLE entities ADD COLUMN key text NOT NULL GENERATED ALWAYS AS (entity_key(name)) STORED;
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


-- A model's tokens in and out have different prices; a person's caps hold, and what waits for them goes on.
ALTER TABLE costs RENAME COLUMN model_tokens TO model_input_tokens;
DO $$
BEGIN
    -- Postgres 18 gives what is NOT NULL a name, and keeps it.
    IF EXISTS (SELECT FROM pg_constraint WHERE conname = 'costs_model_tokens_not_null') THEN
        ALTER TABLE costs RENAME CONSTRAINT costs_model_tokens_not_null TO costs_model_input_tokens_not_null;
    END IF;
END
$$;
ALTER TABLE costs ADD COLUMN model_output_tokens bigint NOT NULL DEFAULT 0;
CREATE INDEX costs_by_day ON costs (user_id, day);
ALTER TABLE settings ADD COLUMN caps_due boolean NOT NULL DEFAULT false;

CREATE TABLE reservations (
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    bytes bigint NOT NULL,
    pages bigint NOT NULL,
    tokens bigint NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (job_id, index)
);
CREATE INDEX reservations_by_user ON reservations (user_id);

DO $$
DECLARE
    personal text;
BEGIN
    FOREACH personal IN ARRAY ARRAY['relations', 'reservations']
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
