"""What a text is found by besides its words: full text for scripts without spaces, Arabic, accents and compounds.

Postgres' parser knows words with spaces around them. The terms that are made here stand beside them in the same index,
and a query is looked for by the same terms: pairs of characters where a script has no spaces, words without accents,
vowel signs or the Arabic article, and longer words spelled both ways, so that "torb" begins what ends in "Brot".
Nothing is made of plain English, whose words need none of it and which most texts are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

LEAST_COMPOUND = 7  # letters of a word that may be made of two
LEAST_PART = 4  # letters of a query's word that may be one of the two
LONGEST = 64  # characters of a word; what is longer is no word, and Postgres refuses 2 KB
MOST_SOUGHT = 32  # terms of a query; more of them narrow nothing any further

# Han, Kana, Hangul, Thai, Lao, Burmese, Khmer: no spaces, or spaces that do not part words.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)
# Signs above and below letters, which no \w is; joiners, with which Persian is spelled.
_SIGNS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0900-\u0963\u0966-\u0dff\u200c\u200d"
)
_TOKEN = re.compile(rf"(?P<run>[{_SPACELESS}]+)|(?:(?![{_SPACELESS}])[^\W_]|[{_SIGNS}])+")
_RUN = re.compile(rf"[{_SPACELESS}]{{2,}}")
# More than ASCII and the quotation marks, dashes and dots that English is printed with.
_FOREIGN = re.compile("[^\x00-\x7f\xa0\u2010-\u2027\u2030-\u203a]")
_LONG_WORD = re.compile(rf"\b[a-z]{{{LEAST_COMPOUND},{LONGEST}}}\b")
_EXCLUDED = re.compile(r"(?<!\S)-\S+")

_INDIC = re.compile("[\u0900-\u0dff]")
_ARABIC = re.compile("[\u0621-\u064a\u0671-\u06d3]")
_ARTICLE = re.compile("^(?:[وفبك]?ال|لل)(?=.{3})")
_SAME = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي",
     "ی": "ي", "ک": "ك", "ة": "ه", "ـ": None, "\u200c": None, "\u200d": None}
)  # fmt: skip


class Sought(NamedTuple):
    """The terms of a query: `query` as Postgres reads a tsquery, with an @ before what is a term and not a plain word;
    None where there are none. `run` is its longest run of a script without spaces, for a text in which it stands
    whole."""

    query: str | None
    run: str | None


def extra_terms(text: str) -> str:
    """The terms of a passage, each once, with spaces between; empty for plain English."""
    english = _is_english(text)
    if text.isascii() or not _FOREIGN.search(text):
        words = [] if english else _LONG_WORD.findall(text.lower())
        return " ".join(dict.fromkeys(term for word in words for term in (word, word[::-1])))
    return " ".join(dict.fromkeys(_terms(_plain(text), compounds=not english)))


def sought_terms(query: str) -> Sought:
    """The terms by which a query is looked for. Words with a minus before them, which are not wanted, give none."""
    plain = _plain(_EXCLUDED.sub(" ", query))
    groups: list[str] = []
    short: list[str] = []
    for token in _TOKEN.finditer(plain):
        if token["run"]:
            groups += _of_run(token["run"])
        elif len(word := _fold(token.group())) >= LEAST_PART or (word and not word.isascii()):
            groups.append(_of_word(word))
        elif word:
            short.append(f"'{word}'")  # "the" must not hinder "Brot"
    runs = _RUN.findall(query)
    return Sought(" & ".join((groups or short)[:MOST_SOUGHT]) or None, max(runs, key=len, default=None))


def _is_english(text: str) -> bool:
    """Whether as many of the commonest words stand in it as in any English prose, where they are every sixth."""
    low = text.lower()
    return 120 * sum(low.count(word) for word in (" the ", " and ", " of ", " to ")) >= len(low)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _terms(text: str, *, compounds: bool) -> Iterator[str]:
    for token in _TOKEN.finditer(text):
        found = token.group()
        if token["run"]:
            yield from _pairs(found)
            yield found[-1]  # so that one character alone is found wherever it stands
            continue
        if len(found) > LONGEST:
            continue
        word = found if found.isascii() else _fold(found)
        compound = compounds and len(word) >= LEAST_COMPOUND and word.isalpha()
        if compound or word != found or _INDIC.search(word):
            yield word
        if compound:
            yield word[::-1]


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)]


def _fold(word: str) -> str:
    """The word without accents, vowel signs and the Arabic article. Signs of Indic scripts are letters."""
    if len(word) > LONGEST:
        return ""
    if word.isascii() or _INDIC.search(word):
        return word
    bare = "".join(c for c in unicodedata.normalize("NFD", word.translate(_SAME)) if unicodedata.category(c) != "Mn")
    return _ARTICLE.sub("", bare) if _ARABIC.search(bare) else bare


def _of_run(run: str) -> list[str]:
    return [f"'@{pair}'" for pair in _pairs(run)] or [f"'@{run}':*"]


def _of_word(word: str) -> str:
    if len(word) < LEAST_PART:
        return f"('{word}' | '@{word}')"
    return f"('{word}' | '@{word}':* | '@{word[::-1]}':*)"
