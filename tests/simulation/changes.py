"""Random changes of every kind, made as people make them. Deterministic for a seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from tests.simulation.drive_model import DOCUMENT, FOLDER, SHORTCUT, TEXT, DriveModel, Item

FORGOTTEN = 0.005  # of what is put into a bin stays there until the bin is emptied
WORDS = ("lease", "harbour", "invoice", "ferry", "garden", "recipe", "budget", "winter", "orchard", "violin")


class Changes:
    """Makes changes in a model that keeps about `size` items."""

    def __init__(self, model: DriveModel, chance: random.Random, emails: list[str], size: int) -> None:
        self._model = model
        self._chance = chance
        self._emails = emails
        self._size = size
        self._number = 0
        self.made: Counter[str] = Counter()
        self.last: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=8))
        self._forgotten: set[str] = set()
        self.unsaid = False  # somebody's access to a whole folder changed, of which no log tells
        self.folders_shared = True  # whether that may happen
        self._kinds: dict[str, tuple[int, Callable[[], bool]]] = {
            "edit": (25, self._edit),
            "native edit": (6, self._native_edit),
            "rename": (14, self._rename),
            "folder rename": (3, self._folder_rename),
            "move": (9, self._move),
            "star": (10, self._star),
            "share": (6, self._share),
            "unshare": (5, self._unshare),
            "trash": (4, self._trash),
            "trash a folder": (1, self._trash_folder),
            "untrash": (5, self._untrash),
            "delete": (3, self._delete),
            "create": (5, self._create),
            "create and delete": (1, self._flash),
            "change owner": (2, self._give),
            "retarget a shortcut": (2, self._retarget),
            "into a shared drive": (2, self._into_drive),
            "out of a shared drive": (2, self._out_of_drive),
            "share a folder": (1, self._share_folder),
            "join or leave": (1, self._join_or_leave),
        }

    def populate(self) -> None:
        """The Drives as they were before anybody connected."""
        while len(self._model.items) < self._size:
            self._create()

    def make(self, count: int) -> None:
        """So many changes, one after another."""
        kinds = list(self._kinds)
        weights = [weight for weight, _ in self._kinds.values()]
        with self._model.lock:
            while count:
                kind = self._chance.choices(kinds, weights)[0]
                self._kind = kind
                if self._kinds[kind][1]():
                    self.made[kind] += 1
                    count -= 1

    # Choosing ---------------------------------------------------------------------------------------------------------

    def _pick(self, fits: Callable[[Item], bool]) -> Item | None:
        ids = list(self._model.items)
        for _ in range(12):
            item = self._model.items[self._chance.choice(ids)]
            if fits(item):
                self.last[item.id].append(self._kind)
                return item
        return None

    def _text(self) -> str:
        self._number += 1
        return " ".join([f"n{self._number}", *self._chance.choices(WORDS, k=6)])

    def _place(self, drive: str, owner: str) -> str:
        """A folder there, or the root."""
        folder = self._pick(
            lambda i: i.mime_type == FOLDER and (i.drive, i.owner) == (drive, owner) and not self._model.in_bin(i)
        )
        return folder.id if folder else ""

    def _some(self, owner: str) -> list[str]:
        return [email for email in self._chance.sample(self._emails, self._chance.choice((1, 1, 2))) if email != owner]

    # The kinds --------------------------------------------------------------------------------------------------------

    def _new(self, mime_type: str, drive: str, owner: str) -> Item:
        now = self._model.now()
        item = Item(f"f{self._number}", self._text(), mime_type, owner, drive, "", now, now)
        item.id = f"id-{self._number}"
        item.parent = self._place(drive, owner)
        if mime_type == SHORTCUT:
            target = self._pick(lambda i: i.mime_type == TEXT)
            item.target = target.id if target else "nowhere"
        elif mime_type != FOLDER:
            item.content = self._text()
        return item

    def _create(self) -> bool:
        self._kind = "create"
        if len(self._model.items) > self._size * 1.2:
            return False
        kind = self._chance.choices((TEXT, DOCUMENT, FOLDER, SHORTCUT), (12, 3, 3, 1))[0]
        drive = self._chance.choice(sorted(self._model.members)) if self._chance.random() < 0.25 else ""
        if not self._model.items:
            kind = FOLDER
            self._model.items["seed"] = Item("seed", "seed", FOLDER, self._emails[0], "", "", 1.0, 1.0)
        item = self._new(kind, drive, "" if drive else self._chance.choice(self._emails))
        self._model.items.pop("seed", None)
        self._model.add(item)
        self.last[item.id].append("create")
        return True

    def _edit(self) -> bool:
        item = self._pick(lambda i: i.mime_type == TEXT)
        if item:
            self._model.edit(item, self._text())
        return item is not None

    def _native_edit(self) -> bool:
        item = self._pick(lambda i: i.mime_type == DOCUMENT)
        if item:
            self._model.edit(item, self._text())
        return item is not None

    def _renamed(self, item: Item | None) -> bool:
        if item:
            item.name = self._text()
            self._model.changed(item)
        return item is not None

    def _rename(self) -> bool:
        return self._renamed(self._pick(lambda i: i.mime_type != FOLDER))

    def _folder_rename(self) -> bool:
        return self._renamed(self._pick(lambda i: i.mime_type == FOLDER))

    def _star(self) -> bool:
        item = self._pick(lambda i: True)
        if item:
            item.starred = not item.starred
            self._model.changed(item)
        return item is not None

    def _move(self) -> bool:
        item = self._pick(lambda i: i.mime_type != FOLDER)
        if item:
            self._moved(item, item.drive, item.owner)
        return item is not None

    def _moved(self, item: Item, drive: str, owner: str) -> None:
        self._model.move(item, self._place(drive, owner), drive=drive, owner=owner)

    def _share(self) -> bool:
        item = self._pick(lambda i: not i.drive and i.mime_type != FOLDER)
        if item:
            self._model.share(item, *item.readers, *self._some(item.owner))
        return item is not None

    def _unshare(self) -> bool:
        item = self._pick(lambda i: bool(i.readers) and i.mime_type != FOLDER)
        if item:
            self._model.share(item)
        return item is not None

    def _share_folder(self) -> bool:
        if not self.folders_shared:
            return False
        folder = self._pick(lambda i: not i.drive and i.mime_type == FOLDER)
        if folder:
            self._model.share(folder, *(() if folder.readers else self._some(folder.owner)))
            self.unsaid = True
        return folder is not None

    def _trash(self) -> bool:
        item = self._pick(lambda i: i.mime_type != FOLDER and not i.trashed)
        if item:
            self._model.trash(item, True)
            if self._chance.random() < FORGOTTEN:
                self._forgotten.add(item.id)
        return item is not None

    def _trash_folder(self) -> bool:
        item = self._pick(lambda i: i.mime_type == FOLDER and not i.trashed)
        if item:
            self._model.trash(item, True)
        return item is not None

    def _untrash(self) -> bool:
        binned = sorted(
            item.id for item in self._model.items.values() if item.trashed and item.id not in self._forgotten
        )
        if not binned:
            return False
        item = self._model.items[self._chance.choice(binned)]
        self.last[item.id].append("untrash")
        self._model.trash(item, False)
        return True

    def _delete(self) -> bool:
        if len(self._model.items) < self._size * 0.8:
            return False
        item = self._pick(
            lambda i: (
                (i.mime_type != FOLDER or len(self._model.children[i.id]) < 4)
                and self._forgotten.isdisjoint([i.id, *(one.id for one in self._model.below(i))])
            )
        )
        if item:
            self._model.delete(item)
        return item is not None

    def _flash(self) -> bool:
        item = self._model.add(self._new(TEXT, "", self._chance.choice(self._emails)))
        self._model.delete(item)
        return True

    def _give(self) -> bool:
        item = self._pick(lambda i: not i.drive and i.mime_type == TEXT)
        if item:
            self._model.give(item, self._chance.choice([e for e in self._emails if e != item.owner]))
        return item is not None

    def _retarget(self) -> bool:
        shortcut, target = self._pick(lambda i: i.mime_type == SHORTCUT), self._pick(lambda i: i.mime_type == TEXT)
        if shortcut and target:
            shortcut.target, shortcut.modified = target.id, self._model.now()
            self._model.changed(shortcut)
        return bool(shortcut and target)

    def _into_drive(self) -> bool:
        item = self._pick(lambda i: not i.drive)
        if item:
            self._moved(item, self._chance.choice(sorted(self._model.members)), "")
        return item is not None

    def _out_of_drive(self) -> bool:
        item = self._pick(lambda i: bool(i.drive))
        if item:
            self._moved(item, "", self._chance.choice(self._emails))
        return item is not None

    def _join_or_leave(self) -> bool:
        drive, email = self._chance.choice(sorted(self._model.members)), self._chance.choice(self._emails)
        self._model.join(drive, email, email not in self._model.members[drive])
        return True
