"""The way to the newest schema: it adds up to `schema.sql`, can be repeated, raced and read before it is run."""

from __future__ import annotations

import difflib
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials

from infra.local.secrets import SecretManagerServer
from infra.migrate import MigrationError, migrations, prepare, script, upgrade
from infra.migrate.__main__ import main
from shared.adapters import google_requests, postgres
from shared.adapters.postgres import connect_to_url
from shared.config import settings
from tests.integration.conftest import TestDatabase

# Everything in schema public that people wrote, one sorted line each. What an extension brought is not ours.
CATALOGUE = """
WITH ours AS (
    SELECT c.oid, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relacl
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'alembic_version%'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
), functions AS (
    SELECT p.* FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
)
SELECT format('%s %s: owner %s, rls %s, forced %s', relkind, relname, relowner::regrole, relrowsecurity,
              relforcerowsecurity)
FROM ours
UNION ALL
SELECT format('table %s: grant %s to %s', o.relname, a.privilege_type,
              coalesce(nullif(a.grantee, 0)::regrole::text, 'all'))
FROM ours o, aclexplode(o.relacl) a
UNION ALL
SELECT format('column %s.%s (number %s): %s%s%s%s%s', o.relname, a.attname, a.attnum,
              format_type(a.atttypid, a.atttypmod),
              CASE WHEN a.attnotnull THEN ' not null' END, ' default ' || pg_get_expr(d.adbin, d.adrelid),
              CASE WHEN a.attgenerated <> '' THEN ' generated' END, CASE WHEN a.attidentity <> '' THEN ' identity' END)
FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE o.relkind IN ('r', 'p', 'v', 'm')
UNION ALL
SELECT format('column %s.%s: grant %s to %s', o.relname, a.attname, x.privilege_type, x.grantee::regrole)
FROM ours o JOIN pg_attribute a ON a.attrelid = o.oid, aclexplode(a.attacl) x
UNION ALL
SELECT format('constraint %s.%s: %s', o.relname, k.conname, pg_get_constraintdef(k.oid))
FROM ours o JOIN pg_constraint k ON k.conrelid = o.oid
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM ours o JOIN pg_index i ON i.indrelid = o.oid
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(t.oid)) FROM ours o JOIN pg_trigger t ON t.tgrelid = o.oid
WHERE NOT t.tgisinternal
UNION ALL
SELECT format('policy %s.%s: %s to %s using %s check %s, permissive %s', o.relname, p.polname, p.polcmd,
              (SELECT string_agg(r::regrole::text, ', ' ORDER BY r::regrole::text) FROM unnest(p.polroles) r),
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid), p.polpermissive)
FROM ours o JOIN pg_policy p ON p.polrelid = o.oid
UNION ALL
SELECT format('function %s: owner %s: %s', f.oid::regprocedure, f.proowner::regrole, pg_get_functiondef(f.oid))
FROM functions f WHERE f.prokind <> 'a'
UNION ALL
SELECT format('function %s: grant %s to %s', f.oid::regprocedure, a.privilege_type,
              coalesce(nullif(a.grantee, 0)::regrole::text, 'all'))
FROM functions f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) a
UNION ALL
SELECT format('comment on %s: %s', coalesce(o.relname, f.oid::regprocedure::text), d.description)
FROM pg_description d LEFT JOIN ours o ON o.oid = d.objoid LEFT JOIN functions f ON f.oid = d.objoid
WHERE o.oid IS NOT NULL OR f.oid IS NOT NULL
ORDER BY 1
"""


def catalogue(database: TestDatabase) -> list[str]:
    """The database in words."""
    return [line for [text] in database.admin(CATALOGUE) for line in text.splitlines()]


def run_as_migrator(database: TestDatabase, sql: str) -> None:
    connection = connect_to_url(database.admin_url)
    try:
        connection.execute_simple("SET ROLE drivestream_migrator")
        connection.execute_simple(sql)
    finally:
        connection.close()


def a_folder(path: Path, **scripts: str) -> Path:
    """A folder of migrations: `_0001_first="CREATE ..."`."""
    for name, sql in scripts.items():
        (path / f"{name.lstrip('_')}.sql").write_text(sql)
    return path


def test_the_migrations_add_up_to_the_schema(database: TestDatabase, empty_database: TestDatabase) -> None:
    """`schema.sql` is what people read, the migrations are what production ran: they must be the same database."""
    run_as_migrator(empty_database, files("schemas").joinpath("sql", "schema.sql").read_text(encoding="utf-8"))

    written, migrated = catalogue(empty_database), catalogue(database)

    difference = difflib.unified_diff(written, migrated, "schema.sql", "migrations", lineterm="", n=1)
    assert "\n".join(difference) == ""
    assert any(line.startswith("policy memories.") for line in written)


def test_a_migration_may_take_its_time(
    empty_database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index over what there is takes minutes; a function gives up on its database after seconds."""
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 0.5)
    folder = a_folder(tmp_path, _0001_slow="SELECT pg_sleep(1)")

    assert upgrade(empty_database.admin_url, folder=folder) == ["0001_slow.sql"]


def test_the_comparison_sees_what_differs(database: TestDatabase) -> None:
    """A comparison that sees too little would approve anything."""
    before = catalogue(database)
    changes = [
        "ALTER TABLE memories NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE costs ALTER drive_units SET DEFAULT 1",
        "ALTER TABLE costs ALTER drive_units DROP NOT NULL",
        "ALTER TABLE users DROP CONSTRAINT users_status_check",
        "DROP INDEX memories_by_hash",
        "DROP POLICY own_rows ON costs",
        "GRANT DELETE ON receipts TO drivestream_worker",
        "ALTER TABLE receipts OWNER TO drivestream_definer",
        "ALTER FUNCTION end_session(bytea) SECURITY INVOKER",
        "GRANT EXECUTE ON FUNCTION end_session(bytea) TO PUBLIC",
        "ALTER TABLE entities ADD extra text",
    ]

    for change in changes:
        database.admin(change)
        after = catalogue(database)
        assert after != before, change
        before = after


def test_every_table_of_a_person_is_held_to_its_policies(database: TestDatabase) -> None:
    """A new table with a user_id and without forced row level security would leak in silence."""
    loose = database.admin("""
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'user_id'
        WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
            AND NOT (c.relrowsecurity AND c.relforcerowsecurity)""")
    held = database.admin("SELECT count(*) FROM pg_class WHERE relforcerowsecurity")

    assert loose == []
    assert held[0][0] >= 10


def test_a_function_that_sees_across_people_cannot_be_led_astray(database: TestDatabase) -> None:
    """SECURITY DEFINER without a fixed search_path runs whatever the caller put first in theirs."""
    astray = database.admin("""
        SELECT oid::regprocedure FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace
            AND (NOT proconfig::text LIKE '%search_path=%' OR has_function_privilege('public', oid, 'EXECUTE')
                OR proowner <> 'drivestream_definer'::regrole)""")

    assert astray == []


def test_an_upgrade_runs_once(empty_database: TestDatabase) -> None:
    """Every start asks for it, so the second time it does nothing."""
    first = upgrade(empty_database.admin_url)
    second = upgrade(empty_database.admin_url)

    assert first == [migration.path.name for migration in migrations()]
    assert second == []


def test_nothing_to_do_does_not_import_alembic(database: TestDatabase) -> None:
    """A start is fast because it does not load what it does not need."""
    program = (
        "import sys; from infra.migrate import prepare, upgrade\n"
        f"assert upgrade({database.admin_url!r}) == []\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('alembic', 'sqlalchemy')])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == "[]"


def test_two_upgrades_at_once_run_every_migration_once(empty_database: TestDatabase, tmp_path: Path) -> None:
    """Two stacks that start together must not both create the tables."""
    folder = a_folder(
        tmp_path, _0001_first="SELECT pg_sleep(0.2); CREATE TABLE a (i int);", _0002_second="DROP TABLE a;"
    )
    done: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: done.append(upgrade(empty_database.admin_url, folder=folder))) for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [[], [], ["0001_first.sql", "0002_second.sql"]]


def test_a_migration_that_fails_leaves_nothing_and_can_be_mended(empty_database: TestDatabase, tmp_path: Path) -> None:
    """What ran before stays, half of it never does, and the message names the file."""
    folder = a_folder(
        tmp_path, _0001_first="CREATE TABLE a (i int);", _0002_bad="CREATE TABLE b (i int); SELECT nothing;"
    )

    with pytest.raises(MigrationError, match=r'0002_bad\.sql failed: column "nothing" does not exist'):
        upgrade(empty_database.admin_url, folder=folder)

    assert empty_database.admin("SELECT to_regclass('a')::text, to_regclass('b')::text") == [["a", None]]
    a_folder(tmp_path, _0002_bad="CREATE TABLE b (i int);")
    assert upgrade(empty_database.admin_url, folder=folder) == ["0002_bad.sql"]


def test_sql_is_run_as_it_is_written(empty_database: TestDatabase, tmp_path: Path) -> None:
    """Colons, percent signs and dollar quotes belong to the SQL, and not to a template of Python's."""
    sql = """CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$
    BEGIN RETURN format('%s %% :x', '10%'::text); END $body$; -- 'a comment: with %s
    CREATE TABLE t AS SELECT f() AS said;"""

    upgrade(empty_database.admin_url, folder=a_folder(tmp_path, _0001_odd=sql))

    assert empty_database.admin("SELECT said FROM t") == [["10% % :x"]]
    assert empty_database.admin("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [["drivestream_migrator"]]


def test_the_script_is_what_an_upgrade_would_do(database: TestDatabase, empty_database: TestDatabase) -> None:
    """`--sql` is read by people before a release, so it must be exactly what will run."""
    printed = script(empty_database.admin_url)
    empty_database.admin(printed)

    assert catalogue(empty_database) == catalogue(database)
    assert upgrade(empty_database.admin_url) == []
    assert script(empty_database.admin_url) == ""


@pytest.mark.parametrize("name", ["_0003_gap", "_2_short", "_first"])
def test_a_badly_numbered_migration_is_refused(tmp_path: Path, name: str) -> None:
    """Two branches that both wrote number two are found before a database is."""
    with pytest.raises(MigrationError):
        migrations(a_folder(tmp_path, _0001_first="SELECT 1", **{name: "SELECT 1"}))


def test_a_database_from_the_future_is_left_alone(database: TestDatabase) -> None:
    """An old release must not touch what a newer one made."""
    database.admin("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(MigrationError, match="at migration 9999"):
        upgrade(database.admin_url)


def test_the_command_does_it_all(empty_database: TestDatabase) -> None:
    """What a release runs: roles, then migrations, with an answer for the log."""
    command = [sys.executable, "-m", "infra.migrate", "--url", empty_database.admin_url]

    shown = subprocess.run([*command, "--sql"], capture_output=True, text=True, check=True, cwd=ROOT)
    first = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    second = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    assert "CREATE TABLE users" in shown.stdout
    assert first.stdout.startswith("Ran 0001_first_schema.sql")
    assert second.stdout == "The database is at the newest migration.\n"


def test_the_address_may_be_a_secret(
    database: TestDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The job of a deployment is given the name of a secret; the password in it is in no command line and no log."""
    vault = SecretManagerServer(tmp_path / "secrets", project="project")
    vault.start()
    vault.put("database-admin", database.admin_url.encode() + b"\n")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "project")
    monkeypatch.setattr(google_requests, "default_credentials", AnonymousCredentials)
    monkeypatch.setenv("SECRETMANAGER_ENDPOINT", vault.url)
    settings.cache_clear()
    try:
        codes = [
            main(["--url-secret", f"projects/project/secrets/{name}/versions/latest"])
            for name in ("database-admin", "nothing")
        ]
    finally:
        vault.stop()
        settings.cache_clear()

    said = capsys.readouterr()
    assert codes == [0, 1], said.err
    assert said.out == "The database is at the newest migration.\n"
    assert "projects/project/secrets/nothing" in said.err


def test_what_takes_something_away_waits_for_the_second_phase(empty_database: TestDatabase, tmp_path: Path) -> None:
    """The release before still reads it until the new one serves."""
    url = empty_database.admin_url
    prepare(url)
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (old int)")
    upgrade(url, folder=tmp_path, contract=False)
    (tmp_path / "0002_new.sql").write_text("ALTER TABLE one ADD COLUMN new int")
    (tmp_path / "0003_contract_old.sql").write_text("ALTER TABLE one DROP COLUMN old")

    before = upgrade(url, folder=tmp_path, contract=False)
    again = upgrade(url, folder=tmp_path, contract=False)
    after = upgrade(url, folder=tmp_path)

    assert (before, again, after) == (["0002_new.sql"], [], ["0003_contract_old.sql"])


def test_a_release_that_was_not_finished_is_not_built_upon(empty_database: TestDatabase, tmp_path: Path) -> None:
    """What adds behind what was never taken away would be run out of order, or not at all."""
    prepare(empty_database.admin_url)
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (old int)")
    upgrade(empty_database.admin_url, folder=tmp_path)
    (tmp_path / "0002_contract_old.sql").write_text("ALTER TABLE one DROP COLUMN old")
    (tmp_path / "0003_more.sql").write_text("ALTER TABLE one ADD COLUMN more int")

    with pytest.raises(MigrationError, match=r"0003_more.sql comes after 0002_contract_old.sql, .*finish the release"):
        upgrade(empty_database.admin_url, folder=tmp_path, contract=False)


def test_a_login_of_the_platform_may_what_ours_may_and_no_more(database: TestDatabase) -> None:
    """Cloud SQL makes the logins of service accounts; alone they see nothing, and a dashboard is never a worker."""
    identity = f"dashboard-{database.name}@project.iam"
    database.admin(f'CREATE ROLE "{identity}" LOGIN')

    prepare(database.admin_url, identities={"drivestream_dashboard": identity})
    prepare(database.admin_url, identities={"drivestream_dashboard": identity})

    asked = f"""SELECT r.rolname, pg_has_role('{identity}', r.oid, 'SET'), pg_has_role('{identity}', r.oid, 'USAGE')
        FROM pg_roles r WHERE r.rolname IN ('drivestream_reader', 'drivestream_worker') ORDER BY 1"""
    may = [tuple(row) for row in database.admin(asked)]
    database.admin(f'DROP ROLE "{identity}"')
    assert may == [("drivestream_reader", True, False), ("drivestream_worker", False, False)]


def test_somebody_who_is_no_superuser_can_do_it(empty_database: TestDatabase) -> None:
    """Cloud SQL gives nobody a superuser: a login that may create roles and owns the database must do."""
    server, name = empty_database.server, empty_database.name
    empty_database.admin(f"""
        CREATE ROLE landlord_{name} LOGIN CREATEROLE PASSWORD 'pw';
        ALTER DATABASE {name} OWNER TO landlord_{name};
        GRANT drivestream_reader, drivestream_worker, drivestream_caretaker, drivestream_migrator, drivestream_definer
            TO landlord_{name} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE""")
    url = f"postgresql://landlord_{name}:pw@127.0.0.1:{server.port}/{name}"

    prepare(url)
    done = upgrade(url)

    assert done[0] == "0001_first_schema.sql"
    empty_database.admin(f"ALTER DATABASE {name} OWNER TO postgres; DROP OWNED BY landlord_{name} CASCADE")
    empty_database.admin(f"DROP ROLE landlord_{name}")


ROOT = Path(__file__).parents[2]
