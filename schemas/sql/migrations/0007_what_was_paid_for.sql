-- What was paid for a chunk that could not be written is kept for its next delivery.

CREATE TABLE paid_pages (
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    pages text[] NOT NULL,
    PRIMARY KEY (job_id, index)
);
CREATE INDEX paid_pages_by_user ON paid_pages (user_id);

CREATE TABLE paid_vectors (
    job_id uuid NOT NULL REFERENCES gdrive_jobs ON DELETE CASCADE,
    index bigint NOT NULL,
    hash bytea NOT NULL,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    embedding halfvec(768) NOT NULL,
    PRIMARY KEY (job_id, index, hash)
);
CREATE INDEX paid_vectors_by_user ON paid_vectors (user_id);

DO $$
DECLARE
    personal text;
BEGIN
    FOREACH personal IN ARRAY ARRAY['paid_pages', 'paid_vectors']
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
