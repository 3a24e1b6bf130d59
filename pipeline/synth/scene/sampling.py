"""Sample a script: actors, their actions and the camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from pipeline.synth.arrays import Floats
from pipeline.synth.scene.ball import ball_actions
from pipeline.synth.scene.camera import Camera, CameraMode, draw_camera
from pipeline.synth.scene.catalogue import HAIR, KINDS, PAINTS, SKIN, TROUSERS, draw_dye, shade
from pipeline.synth.scene.environment import draw_stage
from pipeline.synth.scene.motion import places
from pipeline.synth.scene.script import PEOPLE, VEHICLES, Action, Actor, Category, Dye, Script, Split, Verb
from pipeline.synth.scene.splits import UNSEEN_COMBINATIONS, allows_colour
from pipeline.synth.scene.timeline import Film, draw_actions

SizeName = Literal["small", "full"]


@dataclass(frozen=True, kw_only=True)
class SceneSize:
    """Lengths and frame rates of videos. Ranges are (shortest, longest)."""

    frames: tuple[int, int]
    rates: tuple[int, ...]
    seconds: tuple[float, float]


SIZES: dict[SizeName, SceneSize] = {
    "small": SceneSize(frames=(60, 140), rates=(10, 12, 15), seconds=(4, 14)),
    "full": SceneSize(frames=(60, 400), rates=(10, 12, 15, 20, 24, 25, 30), seconds=(4, 20)),
}
ACTORS = (2, 8)
"""Smallest and largest number of actors."""
COUNT_WEIGHTS = (3, 5, 5, 4, 3, 2, 1)
"""Sampling weights of 2, 3, ..., 8 actors."""
MOST: Mapping[Category, int] = {"car": 2, "horse": 2, "bicycle": 2}
"""Maximum number of actors of categories that need much space."""
TWINS = 0.85
"""Probability that a scene starts with at least two actors of one category (distractors)."""
PLAYS = 0.4
"""Probability that a person in the scene kicks or holds up a ball."""
MODES: Mapping[CameraMode, float] = {"still": 0.5, "panning": 0.17, "following": 0.16, "hand-held": 0.17}
HATS, BAGS = 0.35, 0.3
UNSEEN_SHARE = 0.5
"""Probability of an unseen combination for actors other than the first, in the split that allows them."""
IN_VIEW = 0.45
"""Minimum share of the video in which an actor is completely visible."""
FIRST_TRIES, TRIES = 300, 60
"""Maximum number of attempts to place the first actor, and each other one. An actor that does not fit is omitted."""


def draw_script(rng: np.random.Generator, split: Split, size: SizeName) -> Script | None:
    """Sample a scene in which actors never overlap on the ground.

    Args:
        rng: the random generator.
        split: determines the allowed combinations of category and color.
        size: name of the video lengths.

    Returns:
        the script, or None if fewer than two actors fit; then call again.
    """
    film = _draw_film(rng, SIZES[size])
    modes = list(MODES)
    mode = modes[int(rng.choice(len(modes), p=list(MODES.values())))]
    actors = _draw_actors(rng, split, film, mode)
    if actors is None:
        return None
    cast, camera = actors
    return Script(frames=film.frames, rate=film.rate, camera=camera, stage=draw_stage(rng), actors=cast)


def _draw_film(rng: np.random.Generator, size: SceneSize) -> Film:
    rate = size.rates[int(rng.integers(len(size.rates)))]
    shortest = max(size.frames[0], round(size.seconds[0] * rate))
    longest = min(size.frames[1], round(size.seconds[1] * rate))
    return Film(frames=int(rng.integers(shortest, longest + 1)), rate=Fraction(rate))


def _draw_cast(rng: np.random.Generator, split: Split) -> list[Category]:
    """Sample two to eight categories; usually two or three actors have the first category."""
    weights = np.array([kind.weight for kind in KINDS.values()])
    categories = list(KINDS)

    def one() -> Category:
        return categories[int(rng.choice(len(categories), p=weights / weights.sum()))]

    counts = np.array(COUNT_WEIGHTS) / sum(COUNT_WEIGHTS)
    count = ACTORS[0] + int(rng.choice(len(counts), p=counts))
    first = one()
    if split == "test-unseen-combinations":
        unseen = sorted(UNSEEN_COMBINATIONS)
        first = unseen[int(rng.integers(len(unseen)))][0]
    cast = [first]
    if rng.random() < TWINS:
        cast += [first] * min(count - 1, int(rng.integers(1, 3)), MOST.get(first, count) - 1)
    while len(cast) < count:
        category = one()
        if cast.count(category) < MOST.get(category, count):
            cast.append(category)
    return cast


def _draw_actors(
    rng: np.random.Generator, split: Split, film: Film, mode: CameraMode
) -> tuple[tuple[Actor, ...], Camera] | None:
    cast = _draw_cast(rng, split)
    people = [index for index, category in enumerate(cast) if category in PEOPLE]
    player = people[0] if people and len(cast) < ACTORS[1] and rng.random() < PLAYS else None
    camera: Camera | None = None
    actors: list[Actor] = []
    paths: list[Floats] = []
    for index, category in enumerate(cast):
        play: Verb | None = None
        if index == player:
            play = "kick" if rng.random() < 0.6 else "hold"
        for _ in range(TRIES if actors else FIRST_TRIES):
            actor = _draw_actor(rng, split, category, film, play=play, is_first=not actors)
            if actor is None:
                continue
            group = [actor]
            if play is not None:
                group = _with_ball(rng, split, actor, len(actors), film)
            found = [places(member.actions, film.rate) for member in group]
            watching = camera or draw_camera(rng, mode, film.frames, float(film.rate), found[0])
            if _fits(group, found, watching, actors, paths):
                actors += group
                paths += found
                camera = watching
                break
    return None if camera is None or len(actors) < ACTORS[0] else (tuple(actors), camera)


def _fits(
    group: Sequence[Actor], found: Sequence[Floats], camera: Camera, actors: Sequence[Actor], paths: Sequence[Floats]
) -> bool:
    """Return whether new actors are visible long enough and do not overlap with others."""
    for number, (actor, path) in enumerate(zip(group, found, strict=True)):
        half_m = actor.footprint_m[0]
        share = camera.shows(path, height_m=actor.height_m, half_m=half_m).mean()
        if share < (IN_VIEW if actor.category not in VEHICLES else IN_VIEW / 2):
            return False
        others = zip([*paths, *found[:number]], [*actors, *group[:number]], strict=True)
        if not all(_is_clear(path, actor, other_path, other) for other_path, other in others):
            return False
    return True


def _is_clear(path: Floats, actor: Actor, other_path: Floats, other: Actor) -> bool:
    """Return whether the footprints of two actors never overlap."""
    room = np.add(actor.footprint_m, other.footprint_m)
    return bool((np.abs(path - other_path) > room).any(axis=1).all())


def _draw_actor(
    rng: np.random.Generator, split: Split, category: Category, film: Film, *, play: Verb | None, is_first: bool
) -> Actor | None:
    kind = KINDS[category]
    actions = draw_actions(rng, kind, film, is_vehicle=category in VEHICLES, play=play)
    if actions is None:
        return None
    return _dressed(rng, split, category, actions, is_first=is_first)


def _dressed(
    rng: np.random.Generator, split: Split, category: Category, actions: tuple[Action, ...], *, is_first: bool = False
) -> Actor:
    kind = KINDS[category]
    height_m = float(rng.uniform(*kind.height_m))
    is_person = category in PEOPLE
    names = [name for name in kind.colours if allows_colour(split, category, name)]
    unseen = [name for of, name in sorted(UNSEEN_COMBINATIONS) if of == category]
    if split == "test-unseen-combinations" and unseen and (is_first or rng.random() < UNSEEN_SHARE):
        names = unseen

    def extra(share: float) -> Dye | None:
        colours = [name for name in PAINTS if allows_colour(split, category, name)]
        return draw_dye(rng, PAINTS, colours) if is_person and rng.random() < share else None

    hairs = [name for name in HAIR if category != "child" or name != "grey"]
    return Actor(
        category=category,
        height_m=height_m,
        footprint_m=(height_m * kind.footprint[0], height_m * kind.footprint[1]),
        colour=draw_dye(rng, kind.colours, names),
        skin_rgb=shade(rng, SKIN[int(rng.integers(len(SKIN)))]),
        hair=draw_dye(rng, HAIR, hairs, spread=0.02),
        trousers=draw_dye(rng, TROUSERS, list(TROUSERS), spread=0.02) if is_person else None,
        hat=extra(HATS),
        bag=extra(BAGS),
        actions=actions,
    )


def _with_ball(rng: np.random.Generator, split: Split, person: Actor, index: int, film: Film) -> list[Actor]:
    """Return the person, whose index in the script will be `index`, and the ball that they play with."""
    ball = _dressed(rng, split, "ball", person.actions)
    ball = replace(ball, actions=ball_actions(rng, index, person, ball.height_m / 2, film))
    playing = tuple(
        replace(action, other=index + 1) if action.verb in ("kick", "hold") else action for action in person.actions
    )
    return [replace(person, actions=playing), ball]
