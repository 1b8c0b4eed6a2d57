"""How many tokens a text may cost, guessed from above.

No tokenizer of Google's can be had offline, and a count by request would cost a call per passage. The guess errs
upwards for prose in every script, so that a request built from it keeps under the model's limit.
"""

from __future__ import annotations


def estimate_tokens(text: str) -> int:
    """At most this many tokens, for sizing requests and passages: a third of the ASCII characters, all others whole."""
    ascii_characters = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return (ascii_characters + 2) // 3 + len(text) - ascii_characters
