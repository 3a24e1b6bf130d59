"""Sample sentences that are true of exactly one actor in exactly one span of a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.synth.language.facts import Fact, Predicate, Subject, facts_of, true_of
from pipeline.synth.language.words import HAT, NOUNS, SHIRT, TOWARDS, TROUSERS, sayings, with_article
from pipeline.synth.scene.motion import places
from pipeline.synth.scene.script import PEOPLE, Actor, Heading, Script, Split
from pipeline.synth.scene.splits import UNSEEN_COMBINATIONS, allows_words

SampleKind = Literal["declarative", "interrogative"]
WORDS = (4, 20)
"""Smallest and largest number of words in a sentence."""
SENTENCES = 12
"""Default of the maximum number of sentences per video; VidSTG has 14 per video."""
SPAN_FRACTION = (0.08, 0.6)
"""Smallest and largest length of a labeled span, as fractions of the video."""
INTERROGATIVE_SHARE = 0.55
"""Share of facts for which an interrogative sentence is tried first."""
IN_VIEW = 0.6
"""Minimum share of a labeled span in which the actor is inside the frame."""
DULL_POWER = 1.5
"""Exponent of the random sort keys of rests; a value above 1 makes rests less likely to be labeled."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sentence, and the actor and span that it describes."""

    query: str
    kind: SampleKind
    actor_index: int
    start_frame: int
    end_frame: int


def draw_samples(
    rng: np.random.Generator, script: Script, split: Split, *, most: int = SENTENCES
) -> tuple[Sample, ...]:
    """Sample sentences about different facts.

    Args:
        rng: the random generator.
        script: the scene.
        split: determines the allowed words and combinations.
        most: maximum number of samples.

    Returns:
        up to `most` samples; may be empty.
    """
    low, high = (fraction * script.frames for fraction in SPAN_FRACTION)
    facts = facts_of(script)
    labelled = [
        fact for fact in facts if low <= fact.end_frame - fact.start_frame <= high and _in_view(script, fact) >= IN_VIEW
    ]
    keys = [float(rng.random()) ** (DULL_POWER if fact.verb == "rest" else 1.0) for fact in labelled]
    samples: list[Sample] = []
    for chosen in sorted(range(len(labelled)), key=lambda index: -keys[index]):
        fact = labelled[chosen]
        sentence = _draw_sentence(rng, script, facts, fact, split)
        if sentence is not None:
            query, kind = sentence
            samples.append(
                Sample(
                    query=query,
                    kind=kind,
                    actor_index=fact.actor_index,
                    start_frame=fact.start_frame,
                    end_frame=fact.end_frame,
                )
            )
        if len(samples) == most:
            break
    return tuple(samples)


def _in_view(script: Script, fact: Fact) -> float:
    """Return the share of the fact's frames in which the vertical axis of its actor is inside the frame."""
    actor = script.actors[fact.actor_index]
    path = places(actor.actions, script.rate)
    shown = script.camera.shows(path, height_m=actor.height_m, half_m=0.0, margin=0.0)
    return float(shown[fact.start_frame : fact.end_frame].mean())


def _draw_sentence(
    rng: np.random.Generator, script: Script, facts: tuple[Fact, ...], fact: Fact, split: Split
) -> tuple[str, SampleKind] | None:
    """Sample a sentence that is true only of this fact; None if no sentence is unambiguous."""
    actor = script.actors[fact.actor_index]
    predicates = list(_predicates(rng, script, fact))
    kinds: list[SampleKind] = ["declarative", "interrogative"]
    if rng.random() < INTERROGATIVE_SHARE:
        kinds.reverse()
    for kind in kinds:
        forms = _things(actor) if kind == "declarative" else _question_words(actor)
        for number in rng.permutation(len(forms)):
            queries = [
                query
                for subject in forms[int(number)]
                if split != "test-unseen-combinations" or _is_unseen(actor, subject, kind)
                # "What" would also match trees and chairs, which stand still but have no facts.
                if not (fact.verb == "rest" and subject.categories is None)
                for predicate in predicates
                for query in _queries(subject, predicate, kind)
                if allows_words(split, query)
                and WORDS[0] <= len(query.split()) <= WORDS[1]
                and len(true_of(subject, predicate, script, facts)) == 1
            ]
            if queries:
                return queries[int(rng.integers(len(queries)))], kind
    return None


def _is_unseen(actor: Actor, subject: Subject, kind: SampleKind) -> bool:
    """Return whether the phrase names a color that training never shows on the actor's category.

    A declarative phrase must also name exactly that category.
    """
    is_exact = kind == "interrogative" or subject.categories == frozenset({actor.category})
    return is_exact and any((actor.category, colour) in UNSEEN_COMBINATIONS for colour in subject.colours)


def _queries(subject: Subject, predicate: Predicate, kind: SampleKind) -> Iterator[str]:
    if kind == "interrogative":
        yield f"{subject.text} {predicate.now}?"
        yield f"{subject.text} is {predicate.going}?"
        return
    yield f"the {subject.text} {predicate.now}."
    yield f"the {subject.text} is {predicate.going}."
    yield f"{with_article(subject.text)} {predicate.now}."
    yield f"there is {with_article(subject.text)} {predicate.going}."


def _things(actor: Actor) -> list[list[Subject]]:
    """Return noun phrases for `actor` without an article: a list of forms, each with its synonyms."""
    nouns = NOUNS[actor.category].items()
    colour = actor.colour.name
    bare = [Subject(text=noun, categories=of) for noun, of in nouns]
    if actor.category not in PEOPLE:
        return [bare, [Subject(text=f"{colour} {noun}", categories=of, worn=frozenset({colour})) for noun, of in nouns]]
    assert actor.trousers is not None
    trousers, hair = actor.trousers.name, actor.hair.name
    worn = frozenset({colour})
    forms = [
        bare,
        [Subject(text=f"{noun} in {colour}", categories=of, worn=worn) for noun, of in nouns],
        [
            Subject(text=f"{noun} in {with_article(colour)} {shirt}", categories=of, worn=worn)
            for noun, of in nouns
            for shirt in SHIRT
        ],
        [
            Subject(text=f"{noun} in {trousers} {word}", categories=of, trousers=trousers)
            for noun, of in nouns
            for word in TROUSERS
        ],
        [
            Subject(text=f"{noun} in {colour} and {trousers} {word}", categories=of, worn=worn, trousers=trousers)
            for noun, of in nouns
            for word in TROUSERS
        ],
    ]
    if actor.hat is None:
        forms.append([Subject(text=f"{noun} with {hair} hair", categories=of, hair=hair) for noun, of in nouns])
    else:
        hat = actor.hat.name
        forms.append(
            [
                Subject(text=f"{noun} {how} {with_article(hat)} {word}", categories=of, hat=hat)
                for noun, of in nouns
                for how in ("with", "wearing")
                for word in HAT
            ]
        )
    if actor.bag is not None:
        bag = actor.bag.name
        forms.append(
            [
                Subject(text=f"{noun} {how} {with_article(bag)} bag", categories=of, bag=bag)
                for noun, of in nouns
                for how in ("with", "carrying")
            ]
        )
    return forms


def _question_words(actor: Actor) -> list[list[Subject]]:
    if actor.category not in PEOPLE:
        # "What" matches everything, including people.
        return [[Subject(text="what", categories=None)]]
    colour = actor.colour.name
    return [
        [Subject(text="who", categories=PEOPLE)],
        [Subject(text=f"who in {colour}", categories=PEOPLE, worn=frozenset({colour}))],
    ]


def _predicates(rng: np.random.Generator, script: Script, fact: Fact) -> Iterator[Predicate]:
    """Yield all verb phrases for a fact. A second actor is named with one randomly chosen form."""
    actor = script.actors[fact.actor_index]
    others: list[Subject | None] = [None]
    if fact.other is not None and fact.verb in ("kick", "hold", "kicked", "held"):
        forms = _things(script.actors[fact.other])
        others = list(forms[int(rng.integers(len(forms)))])
    for saying in sayings(actor.category, fact.verb):
        for other in others:
            object_ = "" if other is None else f"the {other.text}"
            tails: list[tuple[str, Heading | None]] = [(" ".join(filter(None, (saying.tail, object_))), None)]
            if fact.heading is not None and fact.verb not in ("kicked", "held"):
                tails += [(f"{object_} {way}".strip(), fact.heading) for way in TOWARDS[fact.heading]]
            for tail, heading in tails:
                yield Predicate(
                    now=f"{saying.now} {tail}".strip(),
                    going=f"{saying.going} {tail}".strip(),
                    verbs=saying.verbs,
                    heading=heading,
                    other=other,
                )
