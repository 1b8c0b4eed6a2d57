"""The words of a small firm and the household behind it: sentences, names, dates and sums in four languages.

A grammar for each language (`words.ini`) is walked by dice, so that a text is as dense in words, names and
numbers as what people write, packs about as well as their prose does, and hardly ever says a sentence twice. It makes
no sense. One seed gives one text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from configparser import ConfigParser
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

LANGUAGES = ("en", "de", "fr", "es")
_WORDS = Path(__file__).with_name("words.ini")
_FIRST_DAY = date(2016, 1, 4)
_DAYS = 3900

One = TypeVar("One")
Form = tuple[tuple[bool, str], ...]  # pieces: is it a symbol?, its name or the text


class Prose:
    """Texts in one language. A sentence's `sort` is article, letter, minutes, contract, manual, note or report; the
    languages other than English know letter and report only, and take the nearer of them. The grammar is in `words`."""

    def __init__(self, dice: random.Random, language: str = "en", words: Path = _WORDS) -> None:
        self.dice = dice
        self.language = language
        self._words = words
        self._rules = _parsed(words, language)
        self._made: Mapping[str, Callable[[], str]] = {
            "person": self.person,
            "given": lambda: self._of("names", "given"),
            "last": lambda: self._of("names", "last"),
            "place": lambda: self._of("names", "place"),
            "firm": self.firm,
            "day": self.day,
            "month": lambda: self._of(f"{language} words", "month"),
            "year": lambda: str(dice.randint(2016, 2026)),
            "sum": self.sum,
            "n": lambda: str(int(dice.lognormvariate(3.4, 1.3)) + 1),
            "few": lambda: str(dice.randint(2, 14)),
            "phone": self.phone,
            "code": self.code,
            "nouns": lambda: plural(self._expand("noun")),
            "a": lambda: dice.choice(("a", "one", "no", "another", "his")),
        }

    def sentence(self, sort: str = "article") -> str:
        """One, with its full stop."""
        rules = self._rules
        known = sort if sort in rules else "letter" if sort in ("note", "article") else "report"
        text = self._expand(known)
        return text if sort == "note" else text[0].upper() + text[1:]

    def paragraph(self, sort: str = "article", most: int = 7) -> str:
        return " ".join(self.sentence(sort) for _ in range(self.dice.randint(max(1, most // 3), most)))

    def title(self) -> str:
        text = self._expand("title")
        return text[0].upper() + text[1:]

    def person(self) -> str:
        return f"{self._of('names', 'given')} {self._of('names', 'last')}"

    def firm(self) -> str:
        return f"{self._of('names', 'firm')} {self._of(f'{self.language} words', 'firm_sort')}"

    def street(self) -> str:
        """An address of some lines."""
        number, road, place = self.dice.randint(1, 190), self._of("names", "last"), self._of("names", "place")
        postcode = f"{self.dice.choice('BCDGKLNS')}{self.dice.randint(1, 29)} {self.dice.randint(1, 9)}QX"
        return {
            "en": f"{number} {road} Road\n{place}\n{postcode}",
            "de": f"{road}straße {number}\n{self.dice.randint(10115, 99998)} {place}\nDeutschland",
            "fr": f"{number}, rue {road}\n{self.dice.randint(10000, 95999)} {place}\nFrance",
            "es": f"Calle {road}, {number}\n{self.dice.randint(10000, 52999)} {place}\nEspaña",
        }[self.language]

    def moment(self) -> date:
        """A day of the ten years."""
        return _FIRST_DAY + timedelta(self.dice.randrange(_DAYS))

    def day(self) -> str:
        """A date as people write it."""
        day = self.moment()
        month = _words(self._words, f"{self.language} words", "month")[day.month - 1]
        if self.dice.random() < 0.3:
            return day.strftime({"en": "%d/%m/%Y", "de": "%d.%m.%Y"}.get(self.language, "%d/%m/%y"))
        dot = "." if self.language == "de" else ""
        return f"{day.day}{dot} {month} {day.year}" if self.dice.random() < 0.6 else f"{day.day}{dot} {month}"

    def sum(self) -> str:
        """An amount of money."""
        value = self.dice.lognormvariate(5.5, 1.6)
        if self.language == "en":
            return f"£{value:,.2f}" if self.dice.random() < 0.6 else f"£{round(value, -1):,.0f}"
        return f"{value:,.2f} €".translate(str.maketrans(",.", ".,"))

    def phone(self) -> str:
        return f"0{self.dice.randint(1200, 1999)} {self.dice.randint(100000, 999999)}"

    def code(self) -> str:
        """A part's number."""
        return f"{''.join(self.dice.choices('ABCDEFHKLMPRSTX', k=2))}-{self.dice.randint(100, 99999)}"

    def word(self) -> str:
        return self._expand("noun" if self.language == "en" else "noun_f")

    def mail_address(self) -> str:
        """An address at a firm that does not exist."""
        firm = self._of("names", "firm")
        return f"{self._of('names', 'given')}.{self._of('names', 'last')}@{firm}.example".lower()

    def _of(self, section: str, name: str) -> str:
        return _rank(self.dice, _words(self._words, section, name))

    def _expand(self, symbol: str) -> str:
        if symbol.endswith("^"):
            text = self._expand(symbol[:-1])
            return text[0].upper() + text[1:]
        made = self._made.get(symbol)
        if made:
            return made()
        forms = self._rules[symbol]
        pieces = forms[int(len(forms) * self.dice.random())] if len(forms) < 20 else _rank(self.dice, forms)
        return "".join([self._expand(piece) if is_symbol else piece for is_symbol, piece in pieces])


def plural(noun: str) -> str:
    """More than one of them, in English."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "z")) else "s")


@cache
def _grammar(words: Path) -> ConfigParser:
    grammar = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    grammar.optionxform = str  # type: ignore[assignment,method-assign]  # Noun is another symbol than noun
    grammar.read(words, encoding="utf-8")
    return grammar


@cache
def _words(grammar: Path, section: str, name: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in _grammar(grammar)[section][name].split())


@cache
def _parsed(grammar: Path, language: str) -> Mapping[str, tuple[Form, ...]]:
    """Each symbol's forms."""
    whole = _grammar(grammar)
    words = {name: _words(grammar, f"{language} words", name) for name in whole[f"{language} words"]}
    rules = {name: tuple(text.strip().split("\n")) for name, text in whole[f"{language} rules"].items()}
    return {name: tuple(_form(form) for form in forms) for name, forms in {**words, **rules}.items()}


def _form(text: str) -> Form:
    found = re.split(r"<(\w+\^?)>", text)
    return tuple((bool(at % 2), piece) for at, piece in enumerate(found) if piece)


def _rank(dice: random.Random, of: Sequence[One]) -> One:
    """One of them, the earlier ones more often."""
    return of[int(len(of) * dice.random() ** 1.15)]
