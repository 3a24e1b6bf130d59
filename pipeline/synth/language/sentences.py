"""Sentences that are true of exactly one actor in exactly one span of a script."""

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
SENTENCES = 12
"""Most that speak of one video, where nothing else is asked for; VidSTG has 14 a video."""
SPAN_FRACTION = (0.08, 0.6)
"""Spans that are labelled, as fractions of the video."""
INTERROGATIVE_SHARE = 0.55
IN_VIEW = 0.6
"""Least share of a labelled span in which the actor is not beyond the picture's edges."""
DULL_POWER = 1.5
"""Above 1: rests are labelled less often than what is more than rest."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sentence and the one actor and span that it is about."""

    query: str
    kind: SampleKind
    actor_index: int
    start_frame: int
    end_frame: int


def draw_samples(
    rng: np.random.Generator, script: Script, split: Split, *, most: int = SENTENCES
) -> tuple[Sample, ...]:
    """Up to `most` samples of different facts; may be empty."""
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
    """Share of the fact's frames in which the middle of its actor is in the picture."""
    actor = script.actors[fact.actor_index]
    path = places(actor.actions, script.rate)
    shown = script.camera.shows(path, height_m=actor.height_m, half_m=0.0, margin=0.0)
    return float(shown[fact.start_frame : fact.end_frame].mean())


def _draw_sentence(
    rng: np.random.Generator, script: Script, facts: tuple[Fact, ...], fact: Fact, split: Split
) -> tuple[str, SampleKind] | None:
    """A sentence true of this fact alone; None when no form of words singles it out."""
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
                # Trees and chairs stand still too, and are in no fact.
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
    """Whether the phrase names a colour that training never sees on that category, and the category, if it asks not."""
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
    """Noun phrases for `actor` without their article: forms, each with its synonyms."""
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
        # "what" is taken at its widest: people count too.
        return [[Subject(text="what", categories=None)]]
    colour = actor.colour.name
    return [
        [Subject(text="who", categories=PEOPLE)],
        [Subject(text=f"who in {colour}", categories=PEOPLE, worn=frozenset({colour}))],
    ]


def _predicates(rng: np.random.Generator, script: Script, fact: Fact) -> Iterator[Predicate]:
    """All that may be said of a fact's actor; of another actor in it, by one form of its names."""
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
