"""Facts of a script, and phrases that are true of some facts."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.synth.scene.script import Actor, Category, Heading, Script, Verb


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One event of an actor in the frames [start_frame, end_frame). A kicked or held ball also has events."""

    actor_index: int
    verb: Verb
    heading: Heading | None
    other: int | None
    start_frame: int
    end_frame: int


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A noun phrase or question word, and the properties that it requires of an actor; None means any."""

    text: str
    categories: frozenset[Category] | None
    worn: frozenset[str] = frozenset()
    """Colors that the actor must have anywhere: "in red" matches a shirt or a hat."""
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
        """All colors of clothing and belongings that the phrase names."""
        return self.worn | {name for name in (self.trousers, self.hat, self.bag) if name is not None}


@dataclass(frozen=True, kw_only=True)
class Predicate:
    """A verb phrase, and the facts that it is true of."""

    now: str
    """Simple present: "walks to the left"."""
    going: str
    """Present participle: "walking to the left"."""
    verbs: frozenset[Verb]
    heading: Heading | None
    """The required direction; None means any."""
    other: Subject | None = None

    def holds(self, fact: Fact, script: Script) -> bool:
        return (
            fact.verb in self.verbs
            and self.heading in (None, fact.heading)
            and (self.other is None or (fact.other is not None and self.other.names(script.actors[fact.other])))
        )


def facts_of(script: Script) -> tuple[Fact, ...]:
    """Return the facts of a script: all actions, and for each kick that its ball is kicked."""
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
    """Return the facts that the sentence of `subject` and `predicate` is true of."""
    return [fact for fact in facts if subject.names(script.actors[fact.actor_index]) and predicate.holds(fact, script)]
