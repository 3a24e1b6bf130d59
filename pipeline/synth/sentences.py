"""Sentences that are true of exactly one actor in exactly one span of a script."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.synth.script import PEOPLE, Action, Actor, Category, Heading, Script, Verb

SampleKind = Literal["declarative", "interrogative"]
WORDS = (4, 20)
SPAN_FRACTION = (0.15, 0.6)
"""Spans that are labelled, as fractions of the video."""
INTERROGATIVE_SHARE = 0.35

_VERBS: dict[Verb, tuple[str, str]] = {
    "rest": ("stands", "is standing"),
    "walk": ("walks", "is walking"),
    "run": ("runs", "is running"),
    "roll": ("rolls", "is rolling"),
    "jump": ("jumps", "is jumping"),
    "wave": ("waves", "is waving"),
}
_LIES = ("lies", "is lying")
_TAIL: dict[Verb, str] = {"rest": "still", "jump": "up and down", "wave": "a hand"}
_TOWARDS: dict[Heading, str] = {
    "left": "to the left",
    "right": "to the right",
    "towards": "towards the camera",
    "away": "away from the camera",
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sentence and the one actor and span that it is about."""

    query: str
    kind: SampleKind
    actor_index: int
    start_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """A phrase and whom it fits; None where it leaves something open."""

    text: str
    categories: frozenset[Category] | None
    colour: str | None = None
    trousers: str | None = None

    def names(self, actor: Actor) -> bool:
        return (
            (self.categories is None or actor.category in self.categories)
            and self.colour in (None, actor.colour)
            and self.trousers in (None, actor.trousers)
        )


def draw_samples(rng: np.random.Generator, script: Script, *, most: int = 2) -> tuple[Sample, ...]:
    """Up to `most` samples of different actions; may be empty."""
    low, high = (fraction * script.frames for fraction in SPAN_FRACTION)
    pairs = [
        (index, action)
        for index, actor in enumerate(script.actors)
        for action in actor.actions
        if low <= action.length_frames <= high
    ]
    # A key's power above 1 makes it smaller: rests come last more often than not.
    keys = [rng.random() ** (1.5 if action.verb == "rest" else 1.0) for _, action in pairs]
    samples: list[Sample] = []
    for chosen in sorted(range(len(pairs)), key=lambda index: -keys[index]):
        index, action = pairs[chosen]
        sentence = _draw_sentence(rng, script, script.actors[index], action)
        if sentence is not None:
            query, kind = sentence
            samples.append(
                Sample(
                    query=query,
                    kind=kind,
                    actor_index=index,
                    start_frame=action.start_frame,
                    end_frame=action.end_frame,
                )
            )
        if len(samples) == most:
            break
    return tuple(samples)


def _draw_sentence(
    rng: np.random.Generator, script: Script, actor: Actor, action: Action
) -> tuple[str, SampleKind] | None:
    """A sentence true of this action alone; None when no form of words singles it out."""
    predicate = _draw_predicate(rng, actor, action)
    subjects: dict[SampleKind, list[_Subject]] = {
        "declarative": _things(rng, actor),
        "interrogative": _question_words(actor),
    }
    kinds: list[SampleKind] = ["declarative", "interrogative"]
    if rng.random() < INTERROGATIVE_SHARE:
        kinds.reverse()
    for kind in kinds:
        mark = "?" if kind == "interrogative" else ""
        queries = [
            query
            for subject in subjects[kind]
            if WORDS[0] <= len((query := f"{subject.text} {predicate}{mark}").split()) <= WORDS[1]
            and _is_true_once(subject, action, script)
        ]
        if queries:
            return queries[int(rng.integers(len(queries)))], kind
    return None


def _is_true_once(subject: _Subject, action: Action, script: Script) -> bool:
    true_of = [
        other
        for actor in script.actors
        if subject.names(actor)
        for other in actor.actions
        if (other.verb, other.heading) == (action.verb, action.heading)
    ]
    return len(true_of) == 1


def _things(rng: np.random.Generator, actor: Actor) -> list[_Subject]:
    """Noun phrases for `actor`, from the plainest to the most exact."""
    article = "the" if rng.random() < 0.5 else "a"
    is_one = frozenset({actor.category})
    if actor.category not in PEOPLE:
        coloured = f"the {actor.colour}" if article == "the" else _with_article(actor.colour)
        return [
            _Subject(text=f"{article} {actor.category}", categories=is_one),
            _Subject(text=f"{coloured} {actor.category}", categories=is_one, colour=actor.colour),
        ]
    who = f"{article} {actor.category}"
    shirt = _with_article(actor.colour)
    return [
        _Subject(text=who, categories=is_one),
        _Subject(text=f"{who} in {actor.colour}", categories=is_one, colour=actor.colour),
        _Subject(text=f"{who} in {shirt} shirt", categories=is_one, colour=actor.colour),
        _Subject(text=f"{who} in {actor.trousers} trousers", categories=is_one, trousers=actor.trousers),
        _Subject(
            text=f"{who} in {actor.colour} and {actor.trousers} trousers",
            categories=is_one,
            colour=actor.colour,
            trousers=actor.trousers,
        ),
    ]


def _question_words(actor: Actor) -> list[_Subject]:
    if actor.category not in PEOPLE:
        # "what" is taken at its widest: people count too.
        return [_Subject(text="what", categories=None)]
    return [
        _Subject(text="who", categories=PEOPLE),
        _Subject(text=f"who in {actor.colour}", categories=PEOPLE, colour=actor.colour),
    ]


def _with_article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def _draw_predicate(rng: np.random.Generator, actor: Actor, action: Action) -> str:
    is_going_on = int(rng.integers(2))
    is_lying = action.verb == "rest" and actor.category == "ball"
    verb = (_LIES if is_lying else _VERBS[action.verb])[is_going_on]
    return f"{verb} {_TOWARDS[action.heading] if action.heading else _TAIL[action.verb]}"
