"""Vocabulary. Each noun and verb lists the categories or actions that it applies to, in its widest meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from pipeline.synth.scene.script import ANIMALS, PEOPLE, VEHICLES, Category, Heading, Verb

Categories = frozenset[Category]

_MAN: Categories = frozenset({"man"})
_WOMAN: Categories = frozenset({"woman"})
_CHILD: Categories = frozenset({"child"})
_DOG: Categories = frozenset({"dog"})
_CAT: Categories = frozenset({"cat"})
_HORSE: Categories = frozenset({"horse"})
_CAR: Categories = frozenset({"car"})
_BICYCLE: Categories = frozenset({"bicycle"})
_BALL: Categories = frozenset({"ball"})
_ADULTS = _MAN | _WOMAN

NOUNS: dict[Category, dict[str, Categories]] = {
    "man": {
        "man": _MAN,
        "gentleman": _MAN,
        "guy": _MAN,
        "adult": _ADULTS,
        "person": PEOPLE,
        "individual": PEOPLE,
    },
    "woman": {"woman": _WOMAN, "lady": _WOMAN, "adult": _ADULTS, "person": PEOPLE, "individual": PEOPLE},
    "child": {"child": _CHILD, "kid": _CHILD, "person": PEOPLE, "individual": PEOPLE},
    "dog": {"dog": _DOG, "puppy": _DOG, "animal": ANIMALS},
    "cat": {"cat": _CAT, "kitty": _CAT, "animal": ANIMALS},
    "horse": {"horse": _HORSE, "pony": _HORSE, "animal": ANIMALS},
    "car": {"car": _CAR, "automobile": _CAR, "vehicle": VEHICLES},
    "bicycle": {"bicycle": _BICYCLE, "bike": _BICYCLE, "cycle": _BICYCLE, "vehicle": VEHICLES},
    "ball": {"ball": _BALL},
}
SHIRT = ("shirt", "top", "jersey")
TROUSERS = ("trousers", "pants", "slacks")
HAT = ("hat", "cap")
TOWARDS: dict[Heading, tuple[str, ...]] = {
    "left": ("to the left", "leftwards"),
    "right": ("to the right", "rightwards"),
    "towards": ("towards the camera",),
    "away": ("away from the camera",),
}


@dataclass(frozen=True, kw_only=True)
class Saying:
    """An English verb and the script verbs that it covers."""

    now: str
    """Simple present: "walks"."""
    going: str
    """Present participle: "walking"."""
    tail: str = ""
    """Words that follow the verb if no direction does."""
    verbs: frozenset[Verb]


def sayings(category: Category, verb: Verb) -> tuple[Saying, ...]:
    """Return the English verbs for `verb` done by an actor of the category."""
    if verb != "rest":
        return _SAYINGS[verb]
    return _RESTS.get(category, _STANDS)


def _saying(verb: Verb, now: str, going: str, tail: str = "") -> Saying:
    return Saying(now=now, going=going, tail=tail, verbs=frozenset({verb}))


# "Moves" covers every action except rest, including jumping and lifting.
_MOVES = Saying(now="moves", going="moving", verbs=frozenset(get_args(Verb)) - {"rest"})
_STANDS = (_saying("rest", "stands", "standing", "still"),)
_PARKED = (_saying("rest", "stands", "standing", "still"), _saying("rest", "stays", "staying", "where it is"))
_RESTS: dict[Category, tuple[Saying, ...]] = {
    "ball": (_saying("rest", "lies", "lying", "on the ground"), _saying("rest", "lies", "lying", "still")),
    "car": _PARKED,
    "bicycle": _PARKED,
}
_SAYINGS: dict[Verb, tuple[Saying, ...]] = {
    "walk": (_saying("walk", "walks", "walking"), _saying("walk", "strolls", "strolling"), _MOVES),
    "run": (_saying("run", "runs", "running"), _saying("run", "jogs", "jogging"), _MOVES),
    "roll": (_saying("roll", "rolls", "rolling"), _MOVES),
    "drive": (_saying("drive", "drives", "driving"), _MOVES),
    "jump": (_saying("jump", "jumps", "jumping", "up and down"), _saying("jump", "hops", "hopping", "up and down")),
    "wave": (_saying("wave", "waves", "waving", "a hand"),),
    "crouch": (
        _saying("crouch", "crouches", "crouching", "down"),
        _saying("crouch", "squats", "squatting", "down"),
    ),
    "sit": (_saying("sit", "sits", "sitting", "on the ground"), _saying("sit", "sits", "sitting", "down")),
    "kick": (_saying("kick", "kicks", "kicking"),),
    "hold": (_saying("hold", "holds up", "holding up"), _saying("hold", "lifts", "lifting")),
    "kicked": (_saying("kicked", "is kicked", "being kicked", "by"),),
    "held": (_saying("held", "is held up", "being held up", "by"), _saying("held", "is lifted", "being lifted", "by")),
}


def with_article(words: str) -> str:
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"
