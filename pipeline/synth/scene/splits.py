"""The benchmark's splits, and what training never sees: some words, and some colours of some categories."""

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
"""Each sentence of `test-unseen-words` has one of these at least; the other splits have none."""
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
"""All targets of `test-unseen-combinations` are among these; no scene of another split shows one."""


def unseen_words(query: str) -> frozenset[str]:
    """The words of a sentence that training never sees."""
    return UNSEEN_WORDS & set(re.findall(r"[a-z]+", query))


def allows_words(split: Split, query: str) -> bool:
    return bool(unseen_words(query)) == (split == "test-unseen-words")


def allows_colour(split: Split, category: Category, colour: str) -> bool:
    """Whether a scene of the split may show that colour on that category, anywhere on it."""
    return split == "test-unseen-combinations" or (category, colour) not in UNSEEN_COMBINATIONS
