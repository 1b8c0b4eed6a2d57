"""A Drive v3 in memory, small and fast: items, parents, permissions, bins, change logs, channels. It is the oracle too.

What it does follows https://developers.google.com/workspace/drive/api/guides/about-changes: an entry of a log is the
current state of its item and replaces the older ones; each shared drive has a log of its own; joining one is one
change; who may see a folder changes without a word about what lies in it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

FOLDER = "application/vnd.google-apps.folder"
SHORTCUT = "application/vnd.google-apps.shortcut"
DOCUMENT = "application/vnd.google-apps.document"
TEXT = "text/plain"
WEEK = 604_800.0
BIN_DAYS = 30

Log = tuple[str, str]  # ("user", e-mail address) or ("drive", id of a shared drive)


@dataclass
class Item:
    """One thing in Drive. It lies in the tree of its `owner` or in a shared `drive`; `parent` "" is its root."""

    id: str
    name: str
    mime_type: str
    owner: str
    drive: str
    parent: str
    created: float
    modified: float
    content: str = ""
    version: int = 0
    target: str = ""
    starred: bool = False
    trashed: bool = False
    trashed_at: float = 0.0
    readers: set[str] = field(default_factory=set)

    @property
    def content_key(self) -> str:
        """The name of the content, as the functions compute it."""
        if self.mime_type in (DOCUMENT, SHORTCUT, FOLDER):
            return f"modified:{datetime.fromisoformat(moment(self.modified)).isoformat()}"
        return f"sha256:{hashlib.sha256(self.content.encode()).hexdigest()}"


@dataclass(frozen=True)
class Channel:
    """An open notification channel. `expires` is in seconds since 1970."""

    id: str
    token: str
    resource_id: str
    email: str
    log: Log
    expires: float


def moment(seconds: float) -> str:
    """RFC 3339 with milliseconds, as Drive writes it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class DriveModel:
    """All Drives. Every method is one moment: whoever asks waits for the others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.lock = threading.RLock()
        self.items: dict[str, Item] = {}
        self.children: dict[str, set[str]] = defaultdict(set)
        self.members: dict[str, set[str]] = {}
        self.channels: dict[str, Channel] = {}
        self.downloads: Counter[tuple[str, str, str]] = Counter()  # (e-mail, file, content key)
        self.requests: Counter[str] = Counter()
        self._logs: dict[Log, dict[tuple[str, str], int]] = defaultdict(dict)
        self._touched: dict[Log, int] = {}
        self._seq = 0

    # What is true now -------------------------------------------------------------------------------------------------

    def ancestors(self, item: Item) -> Iterator[Item]:
        """The item and every folder above it."""
        while True:
            yield item
            if item.parent not in self.items:
                return
            item = self.items[item.parent]

    def places(self, email: str, item: Item) -> Iterator[str]:
        """The ids of the item and of the folders above it, as far up as a person may see them."""
        for above in self.ancestors(item):
            yield above.id
            if email not in self.viewers(above):
                return

    def below(self, item: Item) -> Iterator[Item]:
        """Everything under a folder."""
        for child_id in sorted(self.children[item.id]):
            child = self.items[child_id]
            yield child
            yield from self.below(child)

    def viewers(self, item: Item) -> set[str]:
        """Who may see it."""
        if item.drive:
            return set(self.members[item.drive])
        return {item.owner}.union(*(above.readers for above in self.ancestors(item)))

    def in_bin(self, item: Item) -> bool:
        """Trashed, by itself or through a folder above it."""
        return any(above.trashed for above in self.ancestors(item))

    def seen_by(self, email: str) -> list[Item]:
        """Every live item that a person may see."""
        return [item for item in self.items.values() if email in self.viewers(item) and not self.in_bin(item)]

    def listed(self, email: str, drive: str) -> list[Item]:
        """What a listing of a corpus shows, newest first; `drive` "" is the person's own."""
        found = [item for item in self.seen_by(email) if item.drive == drive]
        return sorted(found, key=lambda item: (-item.modified, item.id))

    def inside(self, email: str, folder: str) -> list[Item]:
        """What lies in a folder itself, as far as a person may see it, binned or not."""
        found = [self.items[child] for child in sorted(self.children[folder])]
        return [item for item in found if email in self.viewers(item)]

    def drives_of(self, email: str) -> list[str]:
        """The shared drives of a person."""
        return sorted(drive for drive, members in self.members.items() if email in members)

    # The change logs --------------------------------------------------------------------------------------------------

    def start_token(self) -> int:
        """The place after everything that has happened so far."""
        return self._seq + 1

    def entries(self, log: Log, token: int) -> list[tuple[int, str, str]]:
        """(place, kind, id) of what changed from a place on, the oldest first."""
        found = []
        for (kind, name), seq in reversed(self._logs[log].items()):
            if seq < token:
                break
            found.append((seq, kind, name))
        return found[::-1]

    def _note(self, log: Log, kind: str, name: str) -> None:
        self._seq += 1
        entries = self._logs[log]
        entries.pop((kind, name), None)
        entries[kind, name] = self._seq
        self._touched[log] = self._touched.get(log, 0) + 1

    def changed(self, item: Item, *also: str, drive: str = "") -> None:
        """The item is another one from now on: every log that shows it, or showed it to `also` or in `drive`."""
        item.version = self._seq + 1
        for email in sorted(({*also} | self.viewers(item)) if not item.drive else {*also}):
            self._note(("user", email), "file", item.id)
        for log in sorted({item.drive, drive} - {""}):
            self._note(("drive", log), "file", item.id)

    # Changes ----------------------------------------------------------------------------------------------------------

    def add(self, item: Item) -> Item:
        """A new item."""
        with self.lock:
            self.items[item.id] = item
            self.children[item.parent].add(item.id)
            self.changed(item)
            return item

    def now(self) -> float:
        """The clock, in whole milliseconds as Drive keeps it, and never the same twice."""
        self._last = max(round(self._clock(), 3), round(getattr(self, "_last", 0.0) + 0.001, 3))
        return self._last

    def edit(self, item: Item, content: str) -> None:
        """Other content."""
        item.content, item.modified = content, self.now()
        self.changed(item)

    def trash(self, item: Item, trashed: bool) -> None:
        """Into the bin or out of it, with all that lies below."""
        item.trashed, item.trashed_at = trashed, self._clock()
        for one in [item, *self.below(item)]:
            self.changed(one)

    def empty_bins(self) -> list[str]:
        """What was put into a bin 30 days ago is deleted for good; the names of what went with it."""
        with self.lock:
            until = self._clock() - BIN_DAYS * 86_400.0
            old = [item for item in self.items.values() if item.trashed and item.trashed_at <= until]
            gone = []
            for item in old:
                if item.id in self.items:  # it has not gone with a folder
                    gone += [item.id, *(one.id for one in self.below(item))]
                    self.delete(item)
            return gone

    def delete(self, item: Item) -> None:
        """For good, with all that lies below."""
        for one in [*self.below(item), item][::-1]:
            viewers = self.viewers(one) if not one.drive else set()
            self.changed(one, *viewers)
        for one in [*self.below(item), item]:
            del self.items[one.id]
            self.children[one.parent].discard(one.id)

    def move(self, item: Item, parent: str, *, drive: str, owner: str) -> None:
        """Into another folder, or between somebody's own Drive and a shared one."""
        whole = [item, *self.below(item)]
        before = {one.id: set() if one.drive else self.viewers(one) for one in whole}
        old = item.drive
        self.children[item.parent].discard(item.id)
        item.parent = parent
        self.children[parent].add(item.id)
        for one in whole:
            if (one.drive, one.owner) != (drive, owner):
                one.readers.clear()
            one.drive, one.owner = drive, owner
        for one in whole:
            self.changed(one, *before[one.id], drive=old)

    def share(self, item: Item, *emails: str) -> None:
        """Who may read it besides its owner. Of what lies below, no log says a word."""
        before = self.viewers(item)
        item.readers = set(emails)
        self.changed(item, *before)

    def give(self, item: Item, email: str) -> None:
        """Another owner; the old one may still read it."""
        before = self.viewers(item)
        self.children[item.parent].discard(item.id)
        item.readers = (item.readers | {item.owner}) - {email}
        item.owner, item.parent = email, ""
        self.children[""].add(item.id)
        self.changed(item, *before)

    def join(self, drive: str, email: str, member: bool) -> None:
        """Become a member of a shared drive, or leave it."""
        if member:
            self.members[drive].add(email)
        else:
            self.members[drive].discard(email)
        self._note(("user", email), "drive", drive)

    # Channels ---------------------------------------------------------------------------------------------------------

    def watch(self, email: str, log: Log, body: dict[str, str]) -> Channel:
        """Open a channel for a week at most."""
        asked = int(body.get("expiration") or 0) / 1000 or self._clock() + 3600
        expires = min(asked, self._clock() + WEEK)
        channel = Channel(body["id"], body.get("token", ""), f"r-{log[0]}-{log[1]}", email, log, expires)
        self.channels[channel.id] = channel
        return channel

    def live(self, email: str, log: Log) -> list[Channel]:
        """The channels that announce a log to a person now."""
        return [c for c in self.channels.values() if (c.email, c.log) == (email, log) and c.expires > self._clock()]

    def announcements(self) -> list[Channel]:
        """Whom Drive would notify of what happened since the last call: one for each channel."""
        with self.lock:
            touched, self._touched = self._touched, {}
            now = self._clock()
            self.channels = {c.id: c for c in self.channels.values() if c.expires > now}
            return [
                c
                for c in self.channels.values()
                if c.log in touched and (c.log[0] == "user" or c.email in self.members[c.log[1]])
            ]
