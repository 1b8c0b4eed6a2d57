"""A program that writes a chunk's passages and is killed at every step of it.

It has one thread, so that it can fork: each child dies by SIGKILL just before one message to the server, the first
before the first, the last after the COMMIT was answered. What is left is printed, a JSON object a line: the passages
that a reader sees after the death, and after the message has been delivered again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any
from uuid import uuid4

from functions.ai_processor.main import Rows, Understood
from schemas.messages.file_chunk_pb2 import FileChunk
from shared.adapters.postgres import Database, Transaction, connect_to_url
from shared.config import Settings
from shared.domain.entities import Entity, Named
from shared.domain.errors import Superseded
from shared.domain.parts import Locator
from shared.domain.spending import Spent
from shared.passages import Passage, passage_hash

PASSAGES = 20
READER = (
    "SELECT m.passage FROM gdrive_files f JOIN memories m ON m.job_id = f.visible_job AND m.user_id = f.user_id"
    " ORDER BY m.ordinal"
)


def main(admin_url: str, url: str) -> None:
    """Every step once."""
    admin = connect_to_url(admin_url)
    config = Settings(google_cloud_project="p", database_url=url)
    user_id = str(uuid4())
    admin.execute_simple(f"INSERT INTO users (user_id, google_sub) VALUES ('{user_id}', 'ada')")
    for step in count(1):
        want(admin.execute_simple, user_id, old := str(uuid4()))
        write(config, user_id, old, "old")
        want(admin.execute_simple, user_id, new := str(uuid4()))
        died = killed(lambda: write(config, user_id, new, "new"), step)
        after = seen(admin)
        write(config, user_id, new, "new")
        rows = {
            table: admin.execute_simple(f"SELECT count(*) FROM {table} WHERE job_id = '{new}'").rows[0][0]
            for table in ("memories", "entities", "gdrive_chunks")
        }
        paid = admin.execute_simple("SELECT coalesce(sum(embedded_tokens), 0) FROM costs").rows[0][0]
        print(json.dumps({"step": step, "after": after, "again": seen(admin), "rows": rows, "paid": int(paid)}))
        admin.execute_simple("DELETE FROM gdrive_files; DELETE FROM gdrive_jobs; DELETE FROM costs")
        if not died:
            return


def want(sql: Callable[[str], object], user_id: str, job_id: str) -> None:
    """The file wants this job, which has been read to its end; what it showed before it goes on showing."""
    sql(
        "INSERT INTO gdrive_jobs (job_id, user_id, file_id, content_key, pipeline_version, state, expected_chunks)"
        f" VALUES ('{job_id}', '{user_id}', 'f', 'k', '1', 'streamed', 1);"
        "INSERT INTO gdrive_files (user_id, file_id, content_key, wanted_job, state)"
        f" VALUES ('{user_id}', 'f', 'k', '{job_id}', 'processing')"
        f" ON CONFLICT (user_id, file_id) DO UPDATE SET wanted_job = '{job_id}'"
    )


def write(config: Settings, user_id: str, job_id: str, revision: str) -> None:
    """What `ai_processor` does with a chunk that it has understood."""
    chunk = FileChunk(job_id=job_id, user_id=user_id, file_id="f", index=0, kind=FileChunk.Kind.TEXT)
    texts = [f"{revision} {number}: Ada counted the boats." for number in range(PASSAGES)]
    passages = [Passage(n, text, Locator(), passage_hash(text), 0) for n, text in enumerate(texts)]
    named = [Named([Entity("person", "Ada", at := text.index("Ada"), at + 3)], []) for text in texts]
    vectors = [[1.0] + [0.0] * (config.embedding_dimensions - 1)] * PASSAGES
    database = Database(config, "drivestream_worker")
    rows = Rows(database, chunk, config)
    with suppress(Superseded):  # finished before
        if not rows.recorded():
            rows.write(Understood(passages, vectors, named), Spent(embedded_tokens=1))
        else:
            rows.finish()
    database.close()


def killed(story: Callable[[], None], step: int) -> bool:
    """Run the story in a child that dies before its message number `step`; whether it did, and did not end before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    sent, wire = 0, Transaction._wire

    def dying(tx: Transaction, call: Callable[[], Any]) -> Any:
        nonlocal sent
        sent += 1
        if sent == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return wire(tx, call)

    Transaction._wire = dying  # type: ignore[method-assign]
    story()
    os._exit(0)


def seen(admin: Any) -> str:
    """Which revision a reader sees: `old`, `new`, or what else there is."""
    found = [row[0] for row in admin.execute_simple(READER).rows]
    revisions = {passage.split(" ")[0] for passage in found}
    return revisions.pop() if len(found) == PASSAGES and len(revisions) == 1 else json.dumps(found)


if __name__ == "__main__":
    main(*sys.argv[1:])
