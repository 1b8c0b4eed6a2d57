"""The folder as a Drive: stable ids, versions, and a log of what changed, kept in SQLite.

A scan compares the disk with what is known. The same path after an edit keeps its id, also when an editor replaced the
file; a renamed or moved file keeps its id (same inode, or same content); a file that comes back within 30 days gets
its old id back. One transaction writes a scan's findings and their log entries, so that a kill leaves all or none.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from infra.local.google.items import (
    CHECKSUM_LIMIT,
    FOLDER,
    Entry,
    Item,
    Kind,
    checksums,
    clean,
    invented_id,
    loads,
    mime_type_of,
    name_and_kind,
    new_id,
    new_root_id,
    resource_key,
    shortcut_target,
)
from infra.local.google.layout import LAYOUT_FILE, Layout, LayoutError, read_layout
from infra.local.google.matching import HASH_AT_SCAN, match, new_content
from infra.local.google.store import Store

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS roots (space TEXT PRIMARY KEY, id TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS drives (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS edits (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, corpus TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
  removed INTEGER NOT NULL, time REAL NOT NULL, UNIQUE (corpus, kind, subject));
CREATE INDEX IF NOT EXISTS changes_by_corpus ON changes (corpus, seq);
"""
_REMEMBER_SECONDS = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Drive:
    """A shared drive as it is now. `created` is in milliseconds since 1970."""

    id: str
    name: str
    folder: str
    members: tuple[str, ...]
    created: int


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a change log: `subject` is a file's or, if `kind` is drive, a shared drive's id."""

    seq: int
    kind: str
    subject: str
    removed: bool
    time: float


class FolderDrive:
    """The index of the folder. Reads see the last scan; `current` looks at the disk once more."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        now: Callable[[], float],
        on_change: Callable[[], None],
        hidden: Iterable[Path],
    ) -> None:
        self.folder = folder
        self._store = store
        self._now = now
        self._on_change = on_change
        self._hidden = {os.path.realpath(path) for path in hidden}
        self._scanning = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._seen: tuple[Any, ...] = ()
        self._racy = False
        self._unreadable: set[str] = set()  # said once, not at every look
        self._items: dict[str, Item] = {}
        self._gone: dict[str, Item] = {}
        self._roots: dict[str, Item] = {}
        self._drives: dict[str, Drive] = {}
        self.layout = Layout(())
        self.generation = 0
        self._load()

    # Reading

    def items(self) -> Iterable[Item]:
        """Every file that is there, trashed ones included, without the roots."""
        return self._items.values()

    def item(self, file_id: str) -> Item | None:
        """One file or root as of the last scan."""
        return self._items.get(file_id) or self._roots.get(file_id)

    def current(self, file_id: str) -> Item | None:
        """One file as it is on disk now: scans first if the disk has moved on."""
        item = self._items.get(file_id)
        if item is None:
            return self._roots.get(file_id)
        if item.is_folder:
            return item
        try:
            found = self.path_of(item).lstat()
            same = (item.inode, item.size, item.mtime_ns) == (_inode(found), found.st_size, found.st_mtime_ns)
        except OSError:
            same = False
        if not same:
            self.scan()
        return self._items.get(file_id)

    def root_of(self, email: str) -> Item:
        """The top of a person's My Drive."""
        return self._roots[next(i for i, root in self._roots.items() if root.owner == email)]

    def drives_of(self, email: str) -> list[Drive]:
        """The shared drives of which a person is a member, by name."""
        return sorted((d for d in self._drives.values() if email in d.members), key=lambda d: (d.name, d.id))

    def drive(self, drive_id: str) -> Drive | None:
        """One shared drive."""
        return self._drives.get(drive_id)

    def may_see(self, email: str, item: Item) -> bool:
        """Whether a person owns the file, was given it, or is a member of its shared drive."""
        if item.owner == email or email in item.viewers:
            return True
        return bool(item.drive) and item.drive in self._drives and email in self._drives[item.drive].members

    def may_open(self, email: str, item: Item, keys: Mapping[str, str]) -> bool:
        """Whether a person sees the file, or has the link of one that is shared by it: its id and resource key."""
        return self.may_see(email, item) or (item.link_shared and keys.get(item.id) == resource_key(item.id))

    def path_of(self, item: Item) -> Path:
        """Where the file is on disk."""
        return self.folder / item.path

    def with_checksums(self, item: Item) -> Item:
        """The item with its checksums, computed once per content; without them above 1 GiB or if it just changed."""
        if item.md5 or item.is_folder or item.size > CHECKSUM_LIMIT:
            return item
        try:
            sums = checksums(self.path_of(item))
            found = self.path_of(item).lstat()
        except OSError:
            return item
        if (item.inode, item.size, item.mtime_ns) != (_inode(found), found.st_size, found.st_mtime_ns):
            return item
        with self._scanning:
            known = self._items.get(item.id)
            if known is None or (known.inode, known.mtime_ns, known.size) != (item.inode, item.mtime_ns, item.size):
                return item
            known = replace(known, md5=sums[0], sha1=sums[1], sha256=sums[2])
            self._items[item.id] = known
            self._store.run("UPDATE items SET body = ? WHERE id = ?", known.dumps(), known.id)
        return replace(item, md5=sums[0], sha1=sums[1], sha256=sums[2])

    def hash_some(self, seconds: float) -> None:
        """Learn contents for a while, so that a file that is copied and deleted is known as moved."""
        end = time.monotonic() + seconds
        for item in list(self._items.values()):
            if time.monotonic() > end:
                return
            if not item.md5 and not item.is_folder and item.size <= HASH_AT_SCAN:
                self.with_checksums(item)

    # The change logs

    def last_seq(self) -> int:
        """The number of the newest log entry; a token that says it has seen everything."""
        row = self._store.row("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")
        return int(row["seq"]) if row else 0

    def changes(self, corpus: str, after: int, limit: int) -> tuple[list[Change], int, bool]:
        """Entries of one log after a number, oldest first; the log's newest number; whether more follow."""
        with self._store.read() as connection:
            last = self.last_seq()
            rows = connection.execute(
                "SELECT seq, kind, subject, removed, time FROM changes WHERE corpus = ? AND seq > ?"
                " ORDER BY seq LIMIT ?",
                (corpus, after, limit + 1),
            ).fetchall()
        found = [Change(r["seq"], r["kind"], r["subject"], bool(r["removed"]), r["time"]) for r in rows[:limit]]
        return found, last, len(rows) > limit

    # What a folder cannot express

    def edit(self, file_id: str, **overrides: Any) -> None:
        """Say of one file what `.drive.json` could say of its path; None takes a word back. Lasts until taken back."""
        with self._scanning:
            said = {**self._edits().get(file_id, {}), **overrides}
            said = {name: value for name, value in said.items() if value is not None}
            self._store.run("INSERT OR REPLACE INTO edits (id, body) VALUES (?, ?)", file_id, json.dumps(said))
            self.scan()

    def delete(self, file_id: str) -> None:
        """Delete a file or folder for good, on disk. Raises KeyError for an unknown id."""
        path = self.path_of(self._items[file_id])
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        self.scan()

    # Scanning

    def scan(self) -> bool:
        """Compare the disk with what is known; returns whether anything a person can see has changed."""
        with self._scanning:
            try:
                layout = read_layout(self.folder)
            except LayoutError as error:
                log.warning("%s; the last readable one stays in force", error)
                layout = self.layout
            if not self.folder.is_dir():
                return False
            return self._scan(layout)

    def _scan(self, layout: Layout) -> bool:
        roots, drives = self._tops(layout)
        entries = self._walk(layout, {d.folder: d.id for d in drives.values()})
        edits = self._edits()
        seen = (layout, edits)
        if entries == self._entries and seen == self._seen and not self._racy:
            return False
        items = self._reconcile(entries, roots, layout, edits)
        changed = self._commit(items, roots, drives)
        self._entries, self._seen, self.layout = entries, seen, layout
        self._racy = any(item.mtime_ns < 0 for item in items.values())
        if changed:
            self.generation += 1
            self._on_change()
        return changed

    def _tops(self, layout: Layout) -> tuple[dict[str, Item], dict[str, Drive]]:
        """The roots by id and the shared drives by id; new ones get an id that stays."""
        roots = {}
        drives = {}
        for person in layout.people:
            root_id, created = self._root(f"user:{person.email}")
            roots[root_id] = _root_item(root_id, "My Drive", person.folder or "", created, owner=person.email)
        for shared in layout.shared_drives:
            drive_id, created = self._root(f"drive:{shared.folder}")
            members = tuple(m for m in shared.members if layout.person(m))
            drives[drive_id] = Drive(drive_id, shared.name, shared.folder, members, created)
            roots[drive_id] = _root_item(drive_id, shared.name, shared.folder, created, drive=drive_id)
        return roots, drives

    def _root(self, space: str) -> tuple[str, int]:
        # Looked for first: a scan that finds nothing new writes nothing, and there are two in a second.
        row = self._store.row("SELECT id, created FROM roots WHERE space = ?", space)
        if row is not None:
            return row["id"], row["created"]
        root_id, created = new_root_id(), int(self._now() * 1000)
        self._store.run("INSERT INTO roots (space, id, created) VALUES (?, ?, ?)", space, root_id, created)
        return root_id, created

    def _walk(self, layout: Layout, drive_ids: Mapping[str, str]) -> dict[str, Entry]:
        """Every path on disk, a folder before what is in it."""
        tops = {person.folder: person.email for person in layout.people if person.folder is not None} | dict(drive_ids)
        entries: dict[str, Entry] = {}
        for top, space in tops.items():
            waiting = [top]
            while waiting:
                below = waiting.pop()
                for entry in self._list(below, space):
                    if entry.path in tops or entry.path == LAYOUT_FILE:
                        continue
                    entries[entry.path] = entry
                    if entry.is_folder:
                        waiting.append(entry.path)
        return entries

    def _list(self, below: str, space: str) -> list[Entry]:
        found = []
        try:
            with os.scandir(self.folder / below) as listing:
                for one in sorted(listing, key=lambda one: one.name):
                    if one.is_symlink() or not (one.is_file() or one.is_dir()):
                        continue
                    if one.is_dir() and os.path.realpath(one.path) in self._hidden:
                        continue
                    path = one.name if below == "." else f"{below}/{one.name}"
                    try:
                        stat = one.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    size, mtime_ns = (0, 0) if one.is_dir() else (stat.st_size, stat.st_mtime_ns)
                    found.append(Entry(path, below, space, one.is_dir(), _inode(stat), size, mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            # A folder that cannot be read just now is not an empty folder: what was below it stays.
            if below not in self._unreadable:
                log.warning("The folder %s cannot be read (%s): what is in it is left out.", below, error.strerror)
                self._unreadable.add(below)
            prefix = "" if below == "." else below + "/"
            return [e for e in self._entries.values() if e.space == space and e.path.startswith(prefix)]
        return found

    def _reconcile(
        self,
        entries: Mapping[str, Entry],
        roots: Mapping[str, Item],
        layout: Layout,
        edits: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Item]:
        """The items that the entries are now."""
        known = match(entries, self._items.values(), self._gone.values(), self.folder)
        tops = {root.path: root for root in roots.values() if root.path}
        made: dict[str, Item] = {}
        for path, entry in entries.items():
            parent = made.get(entry.parent) or tops[entry.parent]
            old = known.get(path)
            file_id = old.id if old else new_id()
            said = {**layout.files.get(path, {}), **edits.get(file_id, {})}
            made[path] = self._item(entry, file_id, old, parent, said)
        return {item.id: self._aimed(item, made) for item in made.values()}

    def _item(self, entry: Entry, file_id: str, old: Item | None, parent: Item, said: Mapping[str, Any]) -> Item:
        item = old or self._new_item(entry, file_id)
        if entry.is_folder:
            name, kind, mime_type = clean(PurePosixPath(entry.path).name), item.kind, FOLDER
        else:
            if not item.same_content_as(entry):
                item = new_content(item, entry, self.folder / entry.path)
            if old is None or item is not old or item.path != entry.path:
                item = replace(item, content_type=mime_type_of(self.folder / entry.path))
            name, kind = name_and_kind(entry.path)
            mime_type = item.content_type
        owner = "" if parent.drive else parent.owner
        shared = {str(person).strip().lower() for person in said.get("shared_with", ())} - {owner}
        return replace(
            item,
            path=entry.path,
            space=entry.space,
            inode=entry.inode,
            gone_at=0.0,
            name=str(said.get("name", name)),
            kind=kind,
            mime_type=str(said.get("mime_type", mime_type)) if kind == "blob" else mime_type,
            parent=parent.id,
            owner=owner,
            drive=parent.drive,
            explicitly_trashed=bool(said.get("trashed", False)),
            trashed=parent.trashed or bool(said.get("trashed", False)),
            starred=bool(said.get("starred", False)),
            can_download=bool(said.get("can_download", True)),
            link_shared=bool(said.get("link_shared", False)),
            description=str(said.get("description", "")),
            shared_with=tuple(sorted(shared)),
            viewers=tuple(sorted({*parent.viewers, *shared} - {owner})),
        )

    def _new_item(self, entry: Entry, file_id: str) -> Item:
        now = int(self._now() * 1000)
        kind: Kind = "folder" if entry.is_folder else "blob"
        return Item(
            file_id, entry.path, entry.space, entry.is_folder, entry.inode, 0, 0, "", kind, "", "",
            created=now, modified=now, version=0, revision=0,
        )  # fmt: skip

    def _aimed(self, item: Item, made: Mapping[str, Item]) -> Item:
        """A shortcut with its target. A target that moves keeps its id, so only a new stub is looked up again."""
        if item.kind != "shortcut":
            return item
        path = shortcut_target(self.folder / item.path)
        target = made.get(path)
        if target is None and item.target and path == item.target_path:
            target = next((other for other in made.values() if other.id == item.target), None)
        if target is None:
            lost = item.target if path == item.target_path and item.target else invented_id(path)
            return replace(item, target=lost, target_path=path, target_mime_type=item.target_mime_type)
        return replace(item, target=target.id, target_path=path, target_mime_type=target.mime_type)

    # Writing down what a scan found

    def _commit(self, items: dict[str, Item], roots: dict[str, Item], drives: dict[str, Drive]) -> bool:
        entries: list[tuple[str, str, str, bool]] = list(_drive_changes(self._drives, drives))
        touched = []
        for item in items.values():
            old = self._items.get(item.id) or self._gone.get(item.id)
            before = self._audience(self._items.get(item.id), self._drives)
            after = self._audience(item, drives)
            if old is None or old.gone_at or old.shown() != item.shown():
                item = items[item.id] = replace(item, version=item.version + 1)
                entries += [(corpus, "file", item.id, False) for corpus in sorted(after)]
            elif before != after:
                entries += [(corpus, "file", item.id, False) for corpus in sorted(after - before)]
            entries += [(corpus, "file", item.id, True) for corpus in sorted(before - after)]
            if item != old:
                touched.append(item)
        now = self._now()
        for item in self._items.values():
            if item.id not in items:
                touched.append(replace(item, gone_at=now))
                entries += [(c, "file", item.id, True) for c in sorted(self._audience(item, self._drives))]
        self._write(touched, drives, entries)
        self._take(items, roots, drives, touched)
        return bool(entries)

    @staticmethod
    def _audience(item: Item | None, drives: Mapping[str, Drive]) -> frozenset[str]:
        """The change logs that tell of an item. A member hears of a shared drive's files in the drive's log only."""
        if item is None:
            return frozenset()
        if not item.drive:
            return frozenset((f"user:{item.owner}", *(f"user:{viewer}" for viewer in item.viewers)))
        members = drives[item.drive].members if item.drive in drives else ()
        return frozenset((f"drive:{item.drive}", *(f"user:{v}" for v in item.viewers if v not in members)))

    def _write(
        self, touched: Iterable[Item], drives: Mapping[str, Drive], entries: Iterable[tuple[str, str, str, bool]]
    ) -> None:
        now = self._now()
        with self._store.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO items (id, body) VALUES (?, ?)", [(item.id, item.dumps()) for item in touched]
            )
            connection.execute("DELETE FROM drives")
            connection.executemany(
                "INSERT INTO drives (id, body) VALUES (?, ?)",
                [(d.id, json.dumps([d.name, d.folder, d.members, d.created])) for d in drives.values()],
            )
            # Replacing an entry gives it a new number: an older entry of the same file is gone from the log.
            connection.executemany(
                "INSERT OR REPLACE INTO changes (corpus, kind, subject, removed, time) VALUES (?, ?, ?, ?, ?)",
                [(*entry, now) for entry in entries],
            )
            long_gone = [i.id for i in self._gone.values() if i.gone_at < now - _REMEMBER_SECONDS]
            connection.executemany("DELETE FROM items WHERE id = ?", [(file_id,) for file_id in long_gone])
        for file_id in long_gone:
            del self._gone[file_id]

    def _take(
        self, items: dict[str, Item], roots: dict[str, Item], drives: dict[str, Drive], touched: Iterable[Item]
    ) -> None:
        for item in touched:
            if item.gone_at:
                self._gone[item.id] = item
            else:
                self._gone.pop(item.id, None)
        # The root of a person who has left stays: a request that is under way may still ask for it.
        self._items, self._roots, self._drives = items, self._roots | roots, drives

    def _edits(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: json.loads(row["body"]) for row in self._store.rows("SELECT id, body FROM edits")}

    def _load(self) -> None:
        """What the last run knew; the next scan finds what happened since."""
        for row in self._store.rows("SELECT body FROM items"):
            item = loads(row["body"])
            (self._gone if item.gone_at else self._items)[item.id] = item
        for row in self._store.rows("SELECT id, body FROM drives"):
            name, folder, members, created = json.loads(row["body"])
            self._drives[row["id"]] = Drive(row["id"], name, folder, tuple(members), created)
        self._entries = {
            i.path: Entry(i.path, str(PurePosixPath(i.path).parent), i.space, i.is_folder, i.inode, i.size, i.mtime_ns)
            for i in self._items.values()
        }


def _drive_changes(before: Mapping[str, Drive], after: Mapping[str, Drive]) -> Iterable[tuple[str, str, str, bool]]:
    """Joining or leaving a shared drive is one entry in the person's own log, not one per file."""
    for drive_id in sorted({*before, *after}):
        old, new = before.get(drive_id), after.get(drive_id)
        members = set(new.members) if new else set()
        for person in sorted(set(old.members) - members if old else ()):
            yield f"user:{person}", "drive", drive_id, True
        if new is None or old == new:
            continue
        if old is not None and old.name != new.name:
            yield f"drive:{drive_id}", "drive", drive_id, False
        told = members if old is None or old.name != new.name else members - set(old.members)
        for person in sorted(told):
            yield f"user:{person}", "drive", drive_id, False


def _root_item(root_id: str, name: str, folder: str, created: int, *, owner: str = "", drive: str = "") -> Item:
    return Item(
        root_id, folder, owner or drive, True, "", 0, 0, name, "folder", FOLDER, "", created, created,
        owner=owner, drive=drive,
    )  # fmt: skip


def _inode(stat: os.stat_result) -> str:
    return f"{stat.st_dev}:{stat.st_ino}"
