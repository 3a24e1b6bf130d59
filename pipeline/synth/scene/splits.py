"""The benchmark's splits, and the words and combinations of category and color that training excludes."""

from __future__ import annotations

import re
from typing import get_args

from pipeline.synth.scene.script import Category, Split

SPLITS: tuple[Split, ...] = get_args(Split)

_UNSEEN = """
    guy lady kid individual puppy kitty pony automobile bike cycle jersey slacks
    strolls strolling jogs jogging hops hopping squats squatting lifts lifting lifted leftwards rightwards
"""
UNSEEN_WORDS = frozenset(_UNSEEN.split())
"""Every sentence of `test-unseen-words` contains at least one of these words; the other splits contain none."""
UNSEEN_COMBINATIONS: frozenset[tuple[Category, str]] = frozenset(
    {
        ("man", "green"),
        ("woman", "purple"),
        ("child", "orange"),
        ("dog", "white"),
        ("horse", "black"),
        ("car", "red"),
        ("ball", "blue"),
    }
)
"""Every target of `test-unseen-combinations` is one of these; no scene of another split contains one."""


def unseen_words(query: str) -> frozenset[str]:
    """Return the words of a sentence that training excludes."""
    return UNSEEN_WORDS & set(re.findall(r"[a-z]+", query))


def allows_words(split: Split, query: str) -> bool:
    return bool(unseen_words(query)) == (split == "test-unseen-words")


def allows_colour(split: Split, category: Category, colour: str) -> bool:
    """Return whether a scene of the split may contain an actor of the category with that color anywhere on it."""
    return split == "test-unseen-combinations" or (category, colour) not in UNSEEN_COMBINATIONS
