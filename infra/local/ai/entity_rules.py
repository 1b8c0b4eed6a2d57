"""Entities and relations without a model: dates, amounts, addresses of mail, names by how they are written, and the few
words between two of them that say how they are related.

The rules know English forms best. They find enough to fill every screen that shows entities, and invent nothing:
each name is a substring of its passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_DATE = re.compile(
    r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4}"
    rf"|{_DAY} {_MONTH}(?: \d{{4}})?|{_MONTH} {_DAY}(?:, \d{{4}})?|{_MONTH} \d{{4}})\b"
    r"|\d{4}年\d{1,2}月(?:\d{1,2}日)?"
)
_MAIL = re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}\b")
_NUMBER = r"\d{1,3}(?:[,.\u202f ]\d{3}){0,5}(?:[.,]\d{1,2})?"
_CURRENCY = r"(?:EUR|USD|GBP|CHF|JPY|euros?|dollars?|pounds?|francs?)"
_AMOUNT = re.compile(
    rf"(?:[€$£¥]|\b(?:EUR|USD|GBP|CHF|JPY) ?)(?:{_NUMBER}|\d{{1,12}})(?: (?:thousand|million|billion))?\b"
    rf"|\b(?:{_NUMBER}|\d{{1,12}}) ?(?:(?:thousand|million|billion) )?(?:[€£%]|{_CURRENCY}\b)"
)
_WORD = r"[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ'’]{1,30}(?:-[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]{1,30})?"
_SUFFIX = (
    r"(?:Ltd|Limited|Inc|LLC|GmbH|AG|SA|SE|Corp|Corporation|Company|University|Institute|Bank|Museum|Foundation"
    r"|Association|Authority|Council|Ministry|Society|Club)"
)
_ORGANISATION = re.compile(
    rf"\b(?:{_WORD} (?:& |and )?){{1,4}}{_SUFFIX}\b\.?|\b(?:University|Institute|Bank|Ministry|Museum) of {_WORD}\b"
)
_NAMES = re.compile(rf"\b{_WORD}(?: (?:van |von |de |di |al-)?{_WORD}){{1,3}}\b")
_PLACES = re.compile(
    r"\b(?:London|Paris|Berlin|Hamburg|Munich|Vienna|Zurich|Geneva|Rome|Milan|Madrid|Barcelona|Lisbon|Porto|Amsterdam"
    r"|Rotterdam|Brussels|Copenhagen|Oslo|Bergen|Stockholm|Helsinki|Reykjavik|Dublin|Edinburgh|Glasgow|Athens|Istanbul"
    r"|Cairo|Nairobi|Lagos|Cape Town|Mumbai|Delhi|Beijing|Shanghai|Tokyo|Kyoto|Osaka|Seoul|Singapore|Sydney|Melbourne"
    r"|Auckland|New York|Boston|Chicago|San Francisco|Los Angeles|Seattle|Toronto|Montreal|Vancouver|Mexico City"
    r"|São Paulo|Buenos Aires|Santiago|Lima|England|Scotland|Ireland|France|Germany|Austria|Switzerland|Italy|Spain"
    r"|Portugal|Netherlands|Belgium|Denmark|Norway|Sweden|Finland|Iceland|Greece|Turkey|Egypt|Kenya|Nigeria|India"
    r"|China|Japan|Korea|Australia|New Zealand|Canada|Mexico|Brazil|Argentina|Chile|Peru|Europe|Africa|Asia|America)\b"
    r"|東京|京都|大阪|北京|上海|서울"
)
_PLACE_WORD = re.compile(
    r"\b(?:Avenue|Bay|Bridge|Harbor|Harbour|Island|Lake|Mount|Port|River|Road|Sea|Square|Street|Valley)\b"
)
_TOPIC_WORD = re.compile(
    r"\b(?:Agenda|Budget|Guide|Handbook|Meeting|Plan|Policy|Program|Programme|Project|Report|Review|Strategy|Summary)\b"
)
_NOT_NAME = re.compile(
    r"\b(?:All|An|And|April|As|At|August|But|By|Chapter|Dear|December|Each|Every|February|Figure|For|Friday|From|He"
    r"|Hello|Her|Here|His|How|If|In|It|January|July|June|March|Monday|No|Not|November|October|On|Or|Our|Page|Please"
    r"|Saturday|Section|September|She|Some|Sunday|Table|Thank|Thanks|That|The|Their|There|These|They|This|Those"
    r"|Thursday|Tuesday|We|Wednesday|What|When|Where|Who|Why|With|Without|Yes|You|Your)\b"
)
_TAG = re.compile(r"(?<!\w)#[^\W\d_][\w-]{1,40}")

# What stands between two names of one sentence, and between which kinds: how they are related.
_PEOPLE = ("person", "organisation")
_RELATIONS = (
    ("works_for", ("person",), ("organisation",), re.compile(r"(?: works| worked)? (?:for|at)(?: the)? ")),
    (
        "located_in",
        (*_PEOPLE, "place"),
        ("place",),
        re.compile(r",? (?:(?:is|lives|lived|was) )?(?:in|at|near)(?: the)? "),
    ),
    ("contacted", _PEOPLE, _PEOPLE, re.compile(r" (?:wrote|writes|spoke|called)(?: to)?(?: the)? ")),
    ("knows", ("person",), ("person",), re.compile(r" (?:met|knows|and) ")),
    ("paid", _PEOPLE, ("amount",), re.compile(r" (?:paid|pays|owes) ")),
    ("costs", ("topic",), ("amount",), re.compile(r" (?:costs?|costed) ")),
    ("happened_on", ("topic", *_PEOPLE), ("date",), re.compile(r" (?:(?:is due|was|is|met) )?on(?: the)? ")),
)

Found = tuple[str, str]  # kind, name


def entities(passage: str) -> list[Found]:
    """What the rules find, each once, in the order of the rules: the surest first."""
    return list(dict.fromkeys((kind, passage[start:end]) for kind, start, end in _spans(passage)))


def relations(passage: str) -> list[tuple[str, str, str]]:
    """Subject, predicate and object of neighbouring names, where the words between them say it."""
    spans = sorted(_spans(passage), key=lambda span: span[1])
    found: dict[tuple[str, str, str], None] = {}
    for (kind, start, end), (other, begins, ends) in pairwise(spans):
        between = passage[end:begins]
        for predicate, subjects, objects, words in _RELATIONS:
            if kind in subjects and other in objects and words.fullmatch(between):
                found[passage[start:end], predicate, passage[begins:ends]] = None
                break
    return list(found)


def _spans(passage: str) -> list[tuple[str, int, int]]:
    """Kind, start and end of each name: no two share a character."""
    taken = [False] * len(passage)
    spans = []
    for kind, start, end in _candidates(passage):
        if not any(taken[start:end]):
            taken[start:end] = [True] * (end - start)
            spans.append((kind, start, end))
    return spans


def _candidates(passage: str) -> Iterator[tuple[str, int, int]]:
    surest = (
        ("date", _DATE),
        ("person", _MAIL),
        ("amount", _AMOUNT),
        ("topic", _TAG),
        ("organisation", _ORGANISATION),
        ("place", _PLACES),
    )
    for kind, pattern in surest:
        for match in pattern.finditer(passage):
            yield kind, *_without_article(match.group(), match.start())
    for match in _NAMES.finditer(passage):
        start, end = _without_article(match.group(), match.start())
        name = passage[start:end]
        if " " in name and not _NOT_NAME.search(name):
            yield _kind_of(name), start, end


def _without_article(text: str, start: int) -> tuple[int, int]:
    """Its span, without a first word that only begins the sentence."""
    end = start + len(text)
    first, _, rest = text.partition(" ")
    return (end - len(rest), end) if rest and _NOT_NAME.fullmatch(first) else (start, end)


def _kind_of(name: str) -> str:
    if _PLACE_WORD.search(name):
        return "place"
    return "topic" if _TOPIC_WORD.search(name) else "person"
