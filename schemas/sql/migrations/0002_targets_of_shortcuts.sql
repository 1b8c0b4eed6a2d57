-- A shortcut may lead to a file that Drive does not list for the person. It is read, and goes with its last shortcut.

ALTER TABLE gdrive_files ADD COLUMN listed boolean NOT NULL DEFAULT true;
CREATE INDEX gdrive_files_unlisted ON gdrive_files (user_id) WHERE NOT listed;
