-- What waits for a quota keeps its lane, a service that is over its quota is known before bytes are spent, and people
-- are told.

ALTER TABLE gdrive_files ADD COLUMN waits_in text CHECK (waits_in IN ('fresh', 'backfill'));
ALTER TABLE gdrive_files ADD COLUMN waits_for text;

CREATE TABLE pressure (
    service text PRIMARY KEY,
    until timestamptz NOT NULL,
    reason text NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON pressure TO drivestream_worker;
GRANT SELECT ON pressure TO drivestream_reader, drivestream_caretaker;

CREATE TABLE quota_standings (
    budget text PRIMARY KEY,
    used bigint NOT NULL,
    remaining bigint NOT NULL,
    resets_at timestamptz NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT app_now()
);
GRANT SELECT ON quota_standings TO drivestream_reader;
GRANT SELECT, INSERT, UPDATE ON quota_standings TO drivestream_caretaker;

CREATE TABLE pauses (
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    corpus text NOT NULL,
    until timestamptz NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (user_id, corpus)
);
ALTER TABLE pauses ENABLE ROW LEVEL SECURITY;
ALTER TABLE pauses FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON pauses FOR ALL TO drivestream_worker
    USING (user_id = app_user_id()) WITH CHECK (user_id = app_user_id());
CREATE POLICY own_rows_read ON pauses FOR SELECT TO drivestream_reader USING (user_id = app_user_id());
CREATE POLICY all_rows ON pauses FOR ALL TO drivestream_caretaker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON pauses TO drivestream_worker, drivestream_caretaker;
GRANT SELECT ON pauses TO drivestream_reader;
