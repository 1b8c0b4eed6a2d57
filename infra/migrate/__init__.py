"""The database's way to the newest schema: roles and pgvector by an administrator, then the numbered migrations.

`schemas/sql/roles.sql` and `schemas/sql/migrations/NNNN_what.sql` are all that people write.
"""

from infra.migrate.prepare import LOGINS, prepare
from infra.migrate.upgrade import MigrationError, migrations, script, upgrade

__all__ = ["LOGINS", "MigrationError", "migrations", "prepare", "script", "upgrade"]
