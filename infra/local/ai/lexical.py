"""A deterministic embedding without a model: hashed words, word pairs and letter trigrams, in every script.

It finds texts that share words or parts of words, and knows nothing of meaning; whoever shows its results says so.
Nothing is learned and nothing is random, so that a vector is the same on every machine and in every year.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from operator import mul
from zlib import crc32

# Scripts that are written without spaces: their words are taken to be pairs of neighbouring characters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+|[^\w\s]")
_UNSPACED_RUN = re.compile(rf"[{_UNSPACED}]")
_LONGEST_WORD = 48
_PAIR = 0.3

Feature = tuple[int, float]  # position in the vector, signed weight


def embed(text: str, dimensions: int, title: str = "") -> list[float]:
    """The unit vector of `text`, with `dimensions` numbers of six decimals. A title's words count once more."""
    tokens = _TOKEN.findall(f"{title}\n{text}".casefold() if title else text.casefold())
    words = [token for token in tokens if token[0].isalnum()] or tokens or [text]
    vector = [0.0] * dimensions
    for word, times in Counter(words).items():
        # A word said ten times is not ten times as telling.
        weight = 1.0 if times == 1 else 1.0 + math.log(times)
        for position, amount in _features(word, dimensions):
            vector[position] += amount * weight
    for first, second in set(pairwise(map(_hash, words))):
        number = first * 31 ^ second
        vector[(number >> 1) % dimensions] += _PAIR if number & 1 else -_PAIR
    scale = 1e6 / (math.sqrt(sum(map(mul, vector, vector))) or 1.0)
    return [int(number * scale) / 1e6 for number in vector]  # a fifth of the time that round() takes


@lru_cache(maxsize=65_536)
def _features(word: str, dimensions: int) -> tuple[Feature, ...]:
    if _UNSPACED_RUN.match(word):
        pairs = [word[at : at + 2] for at in range(len(word) - 1)]
        weighted = [*((pair, 0.8) for pair in pairs), *((character, 0.3) for character in word)]
    else:
        # Without a corpus to count in, length is the best guess of how telling a word is: "of" says little.
        telling = min(len(word), 8) / 8
        framed = f"^{word[:_LONGEST_WORD]}$"
        trigrams = [framed[at : at + 3] for at in range(len(framed) - 2)] if len(word) > 3 else []
        weighted = [(word, telling), *((trigram, 0.5 * telling / len(trigrams) ** 0.5) for trigram in trigrams)]
    return tuple(_feature(crc32(name.encode("utf-8", "replace")), weight, dimensions) for name, weight in weighted)


def _feature(number: int, weight: float, dimensions: int) -> Feature:
    # One bit of the hash is the sign, so that unrelated features that meet in one place cancel out on average.
    return (number >> 1) % dimensions, weight if number & 1 else -weight


@lru_cache(maxsize=65_536)
def _hash(word: str) -> int:
    return crc32(word.encode("utf-8", "replace"))
