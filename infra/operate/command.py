"""What the operator's commands have in common: one sentence instead of a traceback, and JSON as the last line."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infra.local.errors import StackError
from infra.local.options import Parser
from infra.operate import place
from shared.config import Settings, SettingsError
from shared.domain.errors import DrivestreamError

Say = Callable[[str], None]
Story = Callable[[Settings, Namespace, Say], Mapping[str, Any]]


class Refused(Exception):
    """Nothing was done; the message says why and what to do."""


def run(parser: Parser, arguments: Sequence[str] | None, story: Story) -> int:
    """Parse, find the place, tell the story. 0 when it came to its end; what it returns is for `--json`."""
    place.add_arguments(parser)
    chosen = parser.parse_args(arguments)
    try:
        result = story(place.settings_of(chosen), chosen, _say)
    except DrivestreamError as error:
        return _sorry(error.reason)
    except (StackError, SettingsError, Refused) as error:
        return _sorry(str(error))
    if chosen.json:
        print(json.dumps(result))
    return 0


def _say(sentence: str) -> None:
    print(sentence, flush=True)


def _sorry(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1
