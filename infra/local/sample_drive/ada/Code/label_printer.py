"""Prints the shelf labels of the Rye Lock on the old thermal printer.

The printer speaks a small language of its own: a line of text is centred by a leading tab, and a page ends with a form
feed. It has no idea of prices, allergens or good taste; those are added here.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

WIDTH = 32  # characters that fit on a label
ALLERGENS = {"gluten", "milk", "egg", "sesame", "walnut", "almond", "soya"}


@dataclass(frozen=True)
class Label:
    """One bread, as it stands on the shelf."""

    name: str
    price: Decimal
    weight: int  # grams, after baking
    contains: frozenset[str] = field(default_factory=frozenset)

    def lines(self) -> list[str]:
        """The label, line by line; allergens in capitals because the inspector likes it that way."""
        unknown = self.contains - ALLERGENS
        if unknown:
            raise ValueError(f"nobody has told the printer about {', '.join(sorted(unknown))}")
        return [
            self.name.center(WIDTH),
            f"{self.weight} g".ljust(WIDTH // 2) + f"£{self.price:.2f}".rjust(WIDTH // 2),
            "contains " + ", ".join(sorted(self.contains)).upper() if self.contains else "",
        ]


def shrinkage(dough: int, baked: int) -> float:
    """How much of the dough went up the chimney, in per cent."""
    return round(100 * (dough - baked) / dough, 1)


def read_labels(path: Path) -> list[Label]:
    """Labels from a file with one JSON object per line."""
    labels = []
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        labels.append(Label(said["name"], Decimal(said["price"]), said["weight"], frozenset(said["contains"])))
    return labels


def main(path: str) -> int:
    """Print every label twice: one for the shelf, one for the tray."""
    for label in read_labels(Path(path)):
        for _ in ("shelf", "tray"):
            sys.stdout.write("\n".join(label.lines()) + "\f")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
