-- The roles of one cluster and what they may do in this database. Safe to repeat; run by an administrator (a superuser,
-- or a login with CREATEROLE that owns the database) before the migrations. Passwords are nobody's business here.
--
-- A function's login owns nothing and inherits nothing: until it says which role it speaks as, it sees nothing at all.

DO $$
DECLARE
    wanted text;
    login text;
    pair text[];
BEGIN
    -- What may be done: no logins. The migrator owns the schema; the definer owns functions that see across people.
    FOREACH wanted IN ARRAY ARRAY['drivestream_migrator', 'drivestream_definer', 'drivestream_reader',
        'drivestream_worker', 'drivestream_caretaker']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
        -- Whoever runs this (and later the migrations) must be able to speak as them, a superuser or not.
        IF NOT pg_has_role(current_user, wanted, 'SET') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER WITH INHERIT FALSE, SET TRUE', wanted);
        END IF;
    END LOOP;

    -- Replacing a definer function takes its owner's rights, so the migrator inherits these.
    GRANT drivestream_definer TO drivestream_migrator WITH INHERIT TRUE, SET TRUE;

    -- Who may do it: one login for the one-process stack, and one for each function that has its own process.
    FOREACH pair SLICE 1 IN ARRAY ARRAY[
        ['drivestream_app', 'drivestream_reader'],
        ['drivestream_app', 'drivestream_worker'],
        ['drivestream_app', 'drivestream_caretaker'],
        ['drivestream_dashboard', 'drivestream_reader'],
        ['drivestream_oauth_callback', 'drivestream_worker'],
        ['drivestream_change_lister', 'drivestream_worker'],
        ['drivestream_file_streamer', 'drivestream_worker'],
        ['drivestream_ai_processor', 'drivestream_worker'],
        ['drivestream_channel_renewer', 'drivestream_caretaker'],
        ['drivestream_channel_renewer', 'drivestream_worker']]
    LOOP
        login := pair[1];
        wanted := pair[2];
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT', login);
        END IF;
        IF NOT EXISTS (
            SELECT FROM pg_auth_members m
            WHERE m.roleid = wanted::regrole AND m.member = login::regrole AND m.set_option AND NOT m.inherit_option
        ) THEN
            EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', wanted, login);
        END IF;
    END LOOP;

    -- Bulk loads are staged in temporary tables: COPY into a table with row level security is refused.
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO drivestream_worker', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT USAGE ON SCHEMA public TO drivestream_reader, drivestream_worker, drivestream_caretaker;
    -- A function's new owner must be allowed to create in its schema.
    GRANT USAGE, CREATE ON SCHEMA public TO drivestream_migrator, drivestream_definer;
END
$$;

CREATE EXTENSION IF NOT EXISTS vector;
