"""What a script says of each actor, and phrases that are true of some of it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.synth.scene.script import Actor, Category, Heading, Script, Verb


@dataclass(frozen=True, kw_only=True)
class Fact:
    """An actor does something, or has it done to it, in [start_frame, end_frame)."""

    actor_index: int
    verb: Verb
    heading: Heading | None
    other: int | None
    start_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A noun phrase or question word, and whom it fits; None where it leaves something open."""

    text: str
    categories: frozenset[Category] | None
    worn: frozenset[str] = frozenset()
    """Colours that are somewhere on it: "in red" may be said of a shirt as of a hat."""
    trousers: str | None = None
    hat: str | None = None
    bag: str | None = None
    hair: str | None = None

    def names(self, actor: Actor) -> bool:
        parts = ((self.trousers, actor.trousers), (self.hat, actor.hat), (self.bag, actor.bag), (self.hair, actor.hair))
        return (
            (self.categories is None or actor.category in self.categories)
            and self.worn <= actor.worn
            and all(name is None or (dye is not None and dye.name == name) for name, dye in parts)
        )

    @property
    def colours(self) -> frozenset[str]:
        """All colours of things worn that it speaks of."""
        return self.worn | {name for name in (self.trousers, self.hat, self.bag) if name is not None}


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """What is said of a subject, and of which facts it is true."""

    now: str
    """"walks to the left"."""
    going: str
    """"walking to the left"."""
    verbs: frozenset[Verb]
    heading: Heading | None
    """None leaves it open."""
    other: Subject | None = None

    def holds(self, fact: Fact, script: Script) -> bool:
        return (
            fact.verb in self.verbs
            and self.heading in (None, fact.heading)
            and (self.other is None or (fact.other is not None and self.other.names(script.actors[fact.other])))
        )


def facts_of(script: Script) -> tuple[Fact, ...]:
    """All actions, and for each kick that its ball is kicked."""
    facts: list[Fact] = []
    for index, actor in enumerate(script.actors):
        for action in actor.actions:
            start, end = action.start_frame, action.end_frame
            facts.append(
                Fact(
                    actor_index=index,
                    verb=action.verb,
                    heading=action.heading,
                    other=action.other,
                    start_frame=start,
                    end_frame=end,
                )
            )
            if action.verb == "kick" and action.other is not None:
                facts.append(
                    Fact(
                        actor_index=action.other,
                        verb="kicked",
                        heading=action.heading,
                        other=index,
                        start_frame=start,
                        end_frame=end,
                    )
                )
    return tuple(facts)


def true_of(subject: Subject, predicate: Predicate, script: Script, facts: tuple[Fact, ...]) -> list[Fact]:
    """The facts that a sentence may speak of."""
    return [fact for fact in facts if subject.names(script.actors[fact.actor_index]) and predicate.holds(fact, script)]
