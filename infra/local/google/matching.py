"""Which known file a path on disk is, and whether its content is new.

The same path after an edit is the same file, also when an editor replaced it. A renamed or moved file is the same if
its inode is (and nobody touched it: a freed inode is used again at once), or its content. A file that comes back is the
same if it was here before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from infra.local.google.items import Entry, Item, checksums

# Up to this size a scan reads a file to find out what it is.
HASH_AT_SCAN = 64 * 1024 * 1024
# Two edits within one tick of the kernel's clock leave the same time stamp; a stamp this fresh is not trusted yet.
_FRESH_NS = 30_000_000


def match(entries: Mapping[str, Entry], items: Iterable[Item], gone: Iterable[Item], folder: Path) -> dict[str, Item]:
    """Which known item each path on disk is: by path, else by inode, else by content, else one that came back."""
    by_path = {item.path: item for item in items}
    by_inode = {item.inode: item for item in by_path.values()}
    places = {entry.inode: entry.path for entry in entries.values()}
    found: dict[str, Item] = {}
    for path, entry in entries.items():
        item = by_path.get(path)
        if item and item.is_folder == entry.is_folder and not _changed_places(item, entry, by_inode, places):
            found[path] = item
    taken = {item.id for item in found.values()}

    def claim(candidate: Callable[[Entry], Item | None]) -> None:
        for path, entry in entries.items():
            item = candidate(entry) if path not in found else None
            if item is not None and item.id not in taken:
                found[path] = item
                taken.add(item.id)

    claim(lambda entry: _moved(by_inode, entry))
    lost = {(i.size, i.md5): i for i in by_path.values() if i.id not in taken and i.md5 and i.size}
    claim(lambda entry: _same_content(entry, lost, folder))
    past = list(gone)
    gone_by_path = {item.path: item for item in past}
    gone_by_inode = {item.inode: item for item in past}
    claim(lambda entry: _moved(gone_by_inode, entry) or _returned(gone_by_path.get(entry.path), entry, folder))
    return found


def _moved(by_inode: Mapping[str, Item], entry: Entry) -> Item | None:
    item = by_inode.get(entry.inode)
    return item if item is not None and _is_moved(item, entry) else None


def _returned(item: Item | None, entry: Entry, folder: Path) -> Item | None:
    """A file that was gone from this very path, if it is the same again."""
    if item is None or item.is_folder != entry.is_folder:
        return None
    if entry.is_folder or (item.size, item.mtime_ns) == (entry.size, entry.mtime_ns):
        return item
    return _same_content(entry, {(item.size, item.md5): item}, folder)


def _changed_places(item: Item, entry: Entry, by_inode: Mapping[str, Item], places: Mapping[str, str]) -> bool:
    """Whether another known file was moved onto this path while this one moved elsewhere.

    An editor that keeps a backup also moves the old file away, but what it then writes here is unknown: still an edit.
    """
    if item.inode == entry.inode:
        return False
    other = by_inode.get(entry.inode)
    return other is not None and _is_moved(other, entry) and places.get(item.inode, entry.path) != entry.path


def _is_moved(item: Item, entry: Entry) -> bool:
    """Same inode and untouched. A freed inode is used again at once, so the inode alone proves nothing for a file."""
    if item.is_folder or entry.is_folder:
        return item.is_folder and entry.is_folder and item.inode == entry.inode
    return item.same_content_as(entry)


def _same_content(entry: Entry, candidates: Mapping[tuple[int, str], Item], folder: Path) -> Item | None:
    if entry.is_folder or entry.size > HASH_AT_SCAN or all(size != entry.size for size, _ in candidates):
        return None
    try:
        return candidates.get((entry.size, checksums(folder / entry.path)[0]))
    except OSError:
        return None


def new_content(item: Item, entry: Entry, path: Path) -> Item:
    """The item with the disk's content: a new revision, unless the bytes are known to be the same."""
    fresh = abs(time.time_ns() - entry.mtime_ns) < _FRESH_NS
    sums = ("", "", "")
    if entry.size <= HASH_AT_SCAN and (fresh or (item.md5 and item.size == entry.size)):
        try:
            sums = checksums(path)
        except OSError:
            sums = ("", "", "")
    same = bool(sums[0]) and sums[0] == item.md5
    modified = max(0, entry.mtime_ns // 1_000_000)
    # A native file has no checksum: its time is all that tells a reader of an edit, so it always moves on.
    if item.revision and not same and item.kind == "native":
        modified = max(modified, item.modified + 1)
    return replace(
        item,
        size=entry.size,
        mtime_ns=-1 if fresh else entry.mtime_ns,
        inode=entry.inode,
        modified=item.modified if same and item.mtime_ns == -1 and item.kind == "native" else modified,
        revision=item.revision if same else item.revision + 1,
        md5=sums[0],
        sha1=sums[1],
        sha256=sums[2],
    )
