"""Tests of scripts and sentences without OpenGL: sentences are parsed and compared with the motion."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from pipeline.synth.language.sentences import SPAN_FRACTION, Sample, draw_samples
from pipeline.synth.rendering.poses import poses
from pipeline.synth.scene.camera import draw_camera
from pipeline.synth.scene.motion import places
from pipeline.synth.scene.sampling import ACTORS, MODES, SIZES, SizeName, draw_script
from pipeline.synth.scene.script import Actor, Script, Split
from pipeline.synth.scene.splits import SPLITS, UNSEEN_COMBINATIONS, UNSEEN_WORDS

SCRIPTS: dict[Split, int] = {"train": 200, "test-unseen-words": 50, "test-unseen-combinations": 50}

PEOPLE = {"man", "woman", "child"}
NOUNS = {
    "man": {"man"},
    "gentleman": {"man"},
    "guy": {"man"},
    "woman": {"woman"},
    "lady": {"woman"},
    "adult": {"man", "woman"},
    "person": PEOPLE,
    "individual": PEOPLE,
    "child": {"child"},
    "kid": {"child"},
    "dog": {"dog"},
    "puppy": {"dog"},
    "cat": {"cat"},
    "kitty": {"cat"},
    "horse": {"horse"},
    "pony": {"horse"},
    "animal": {"dog", "cat", "horse"},
    "car": {"car"},
    "automobile": {"car"},
    "vehicle": {"car", "bicycle"},
    "bicycle": {"bicycle"},
    "bike": {"bicycle"},
    "cycle": {"bicycle"},
    "ball": {"ball"},
}
VERBS = {
    "stands standing stays staying lies lying": {"rest"},
    "walks walking strolls strolling": {"walk"},
    "runs running jogs jogging": {"run"},
    "rolls rolling": {"roll"},
    "drives driving": {"drive"},
    "moves moving": {"walk", "run", "roll", "drive", "jump", "wave", "crouch", "sit", "kick", "hold", "kicked", "held"},
    "jumps jumping hops hopping": {"jump"},
    "waves waving": {"wave"},
    "crouches crouching squats squatting": {"crouch"},
    "sits sitting": {"sit"},
    "kicks kicking": {"kick"},
    "holds holding lifts lifting": {"hold"},
    "kicked": {"kicked"},
    "held lifted": {"held"},
}


def thing(tag: str) -> str:
    """Return a pattern for a noun phrase without its article; the names of its groups end with `tag`."""
    return (
        rf"(?:(?P<coat{tag}>\w+) )?(?P<noun{tag}>{'|'.join(NOUNS)})(?: in (?P<legs{tag}>\w+) (?:trousers|pants|slacks)"
        rf"| in an? (?P<shirt{tag}>\w+) (?:shirt|top|jersey)"
        rf"| in (?P<colour{tag}>\w+)(?: and (?P<legs_too{tag}>\w+) (?:trousers|pants|slacks))?"
        rf"| with (?P<hair{tag}>\w+) hair| (?:with|wearing) an? (?P<hat{tag}>\w+) (?:hat|cap)"
        rf"| (?:with|carrying) an? (?P<bag{tag}>\w+) bag)?"
    )


SENTENCE = re.compile(
    rf"(?:(?P<question>who|what)(?: in (?P<asked_in>\w+))?|(?:the|an?|there is an?) {thing('')})"
    rf" (?:is )?(?:being )?(?P<verb>\w+)(?: up)?(?: by)?(?: the {thing('_2')})?"
    r"(?: to the (?P<side>left|right)| (?P<side_too>left|right)wards| (?P<depth>towards|away from) the camera"
    r"| still| where it is| on the ground| up and down| down| a hand)?[.?]"
)


@cache
def drawn(split: Split, number: int, size: SizeName = "small") -> tuple[Script, tuple[Sample, ...]]:
    rng = np.random.default_rng([7, SPLITS.index(split), number])
    for _ in range(100):
        script = draw_script(rng, split, size)
        samples = () if script is None else draw_samples(rng, script, split)
        if script is not None and samples:
            return script, samples
    raise AssertionError((split, number))


def all_drawn(split: Split) -> list[tuple[Script, tuple[Sample, ...]]]:
    return [drawn(split, number) for number in range(SCRIPTS[split])]


@dataclass(frozen=True)
class Claim:
    """One event derived from the motion: an actor does something, or something is done to it, in a span."""

    index: int
    verb: str
    way: str | None
    other: int | None
    span: tuple[int, int]


def claims(script: Script) -> list[Claim]:
    found = []
    for index, actor in enumerate(script.actors):
        for action in actor.actions:
            span = (action.start_frame, action.end_frame)
            way = way_of(action.start_m, action.end_m)
            if action.verb == "kick":
                assert action.other is not None
                ball = script.actors[action.other]
                way = next(way_of(roll.start_m, roll.end_m) for roll in ball.actions if roll.verb == "roll")
                found.append(Claim(action.other, "kicked", way, index, span))
            found.append(Claim(index, action.verb, way, action.other, span))
    return found


def way_of(start_m: tuple[float, float], end_m: tuple[float, float]) -> str | None:
    dx, dy = np.subtract(end_m, start_m)
    if abs(dx) > abs(dy):
        return "right" if dx > 0 else "left"
    return None if dy == 0 else "away from" if dy > 0 else "towards"


def fits(said: dict[str, str | None], tag: str, actor: Actor) -> bool:
    def one(part: str, *dyes: object) -> bool:
        return said[part + tag] is None or said[part + tag] in [getattr(dye, "name", None) for dye in dyes]

    everything = (actor.colour, actor.trousers, actor.hat, actor.bag)
    return (
        actor.category in NOUNS[said["noun" + tag] or ""]
        and all(one(part, *everything) for part in ("coat", "shirt", "colour"))
        and one("legs", actor.trousers)
        and one("legs_too", actor.trousers)
        and one("hair", actor.hair)
        and one("hat", actor.hat)
        and one("bag", actor.bag)
    )


def is_true(query: str, script: Script, claim: Claim) -> bool:
    found = SENTENCE.fullmatch(query)
    assert found is not None, query
    said = found.groupdict()
    actor = script.actors[claim.index]
    if said["question"] == "who" and actor.category not in PEOPLE:
        return False
    if said["asked_in"] and said["asked_in"] not in actor.worn:
        return False
    if said["noun"] and not fits(said, "", actor):
        return False
    if said["noun_2"] and (claim.other is None or not fits(said, "_2", script.actors[claim.other])):
        return False
    verbs = next(verbs for words, verbs in VERBS.items() if said["verb"] in words.split())
    way = said["side"] or said["side_too"] or said["depth"]
    return claim.verb in verbs and way in (None, claim.way)


def test_same_generator_gives_same_script() -> None:
    again = drawn.__wrapped__
    for number in range(4):
        assert again("train", number) == drawn("train", number)
    assert drawn("train", 0) != drawn("train", 1)


@pytest.mark.parametrize(
    ("split", "size", "query", "sentences", "next_number"),
    [
        ("train", "small", "who in red stands still?", 9, 388061074),
        ("test-unseen-words", "small", "the individual in a red jersey stands still.", 9, 443656394),
        ("val", "full", "who in pink waves a hand?", 4, 378291021),
    ],
)
def test_random_draws_are_those_of_version_6(
    split: Split, size: SizeName, query: str, sentences: int, next_number: int
) -> None:
    """An additional or missing random draw changes every synthetic video, and with it the scores in docs/results.md."""
    rng = np.random.default_rng([7, 1])
    script = draw_script(rng, split, size)
    assert script is not None
    samples = draw_samples(rng, script, split, most=12)
    assert (samples[0].query, len(samples), int(rng.integers(10**9))) == (query, sentences, next_number)


@pytest.mark.parametrize("split", SCRIPTS)
def test_sentence_is_true_of_one_actor_in_one_span(split: Split) -> None:
    for script, samples in all_drawn(split):
        for sample in samples:
            true = [(claim.index, *claim.span) for claim in claims(script) if is_true(sample.query, script, claim)]
            assert true == [(sample.actor_index, sample.start_frame, sample.end_frame)], sample.query
            # Trees and chairs also stand still, but have no claims.
            assert not re.match(r"what (is )?(stand|stay|lies|lying)", sample.query), sample.query


@pytest.mark.parametrize("split", SCRIPTS)
def test_splits_separate_words_and_combinations(split: Split) -> None:
    for script, samples in all_drawn(split):
        shown = {(actor.category, colour) for actor in script.actors for colour in actor.worn}
        for sample in samples:
            unseen = UNSEEN_WORDS & set(re.findall(r"\w+", sample.query))
            assert bool(unseen) == (split == "test-unseen-words"), sample.query
            target = script.actors[sample.actor_index]
            combinations = {(target.category, colour) for colour in target.worn} & UNSEEN_COMBINATIONS
            assert bool(combinations) == (split == "test-unseen-combinations"), sample.query
            if combinations:
                assert any(colour in sample.query for _, colour in combinations)
        if split != "test-unseen-combinations":
            assert not shown & UNSEEN_COMBINATIONS


def test_sentences_and_spans_have_the_documented_lengths() -> None:
    samples = [(script, sample) for script, found in all_drawn("train") for sample in found]
    assert len(samples) > 2 * SCRIPTS["train"]
    for script, sample in samples:
        assert 4 <= len(sample.query.split()) <= 20
        assert sample.query[-1] == ("?" if sample.kind == "interrogative" else ".")
        assert 0 <= sample.start_frame < sample.end_frame <= script.frames
    lengths = [(sample.end_frame - sample.start_frame) / script.frames for script, sample in samples]
    assert min(lengths) >= SPAN_FRACTION[0]
    assert max(lengths) <= SPAN_FRACTION[1]
    assert 0.2 <= np.median(lengths) <= 0.32
    kinds = Counter(sample.kind for _, sample in samples)
    assert min(kinds.values()) > 0.25 * len(samples)


def test_scenes_contain_distractors() -> None:
    casts = [[actor.category for actor in script.actors] for script, _ in all_drawn("train")]
    assert all(ACTORS[0] <= len(cast) <= ACTORS[1] for cast in casts)
    assert np.mean([max(Counter(cast).values()) > 1 for cast in casts]) > 0.6
    labelled = {
        script.actors[sample.actor_index].category for script, samples in all_drawn("train") for sample in samples
    }
    assert labelled == {"man", "woman", "child", "dog", "cat", "horse", "car", "bicycle", "ball"}


@pytest.mark.parametrize("size", SIZES)
def test_actions_fill_the_video_without_gaps_or_jumps(size: SizeName) -> None:
    for number in range(40):
        script, _ = drawn("train", number, size)
        assert SIZES[size].frames[0] <= script.frames <= SIZES[size].frames[1]
        assert script.rate in SIZES[size].rates
        for actor in script.actors:
            edges = [(action.start_frame, action.end_frame) for action in actor.actions]
            assert edges[0][0] == 0
            assert edges[-1][1] == script.frames
            assert all(left[1] == right[0] for left, right in pairwise(edges))
            path = places(actor.actions, script.rate)
            assert path.shape == (script.frames, 2)
            assert np.hypot(*np.diff(path, axis=0).T).max() < 5.0 / float(script.rate)


def test_some_actors_enter_and_some_leave() -> None:
    comes, leaves = 0, 0
    for script, _ in all_drawn("train"):
        for actor in script.actors:
            path = places(actor.actions, script.rate)
            seen = script.camera.shows(path, height_m=actor.height_m, half_m=0.0, margin=0.0)
            comes += bool(not seen[0] and seen.any())
            leaves += bool(not seen[-1] and seen.any())
    assert comes > 20
    assert leaves > 20


def test_actors_do_not_overlap() -> None:
    for script, _ in all_drawn("train")[:50]:
        paths = [places(actor.actions, script.rate) for actor in script.actors]
        for index, path in enumerate(paths):
            for other in range(index):
                room = np.add(script.actors[index].footprint_m, script.actors[other].footprint_m)
                assert (np.abs(path - paths[other]) > room).any(axis=1).all()


def test_poses_are_finite_for_every_frame() -> None:
    for script, _ in all_drawn("train")[:20]:
        for index in range(len(script.actors)):
            for joint, angles in poses(script, index).items():
                assert angles.shape == (script.frames,), joint
                assert np.isfinite(angles).all(), joint


def test_held_ball_rises_and_kicked_ball_moves_away() -> None:
    seen = set()
    for script, _ in all_drawn("train"):
        for person in script.actors:
            for action in person.actions:
                if action.other is None or action.verb not in ("kick", "hold"):
                    continue
                pose = poses(script, action.other)
                middle = (action.start_frame + action.end_frame) // 2
                seen.add(action.verb)
                if action.verb == "hold":
                    assert pose["z"][middle] > person.height_m
                    assert pose["z"][action.end_frame - 1] < 0.6 * person.height_m
                else:
                    assert np.ptp(pose["x"][: middle - 1]) == 0.0
                    assert abs(pose["x"][-1] - pose["x"][0]) > 0.3
    assert seen == {"kick", "hold"}


def test_half_of_the_cameras_are_still() -> None:
    modes = Counter(script.camera.mode for script, _ in all_drawn("train"))
    assert set(modes) == set(MODES)
    assert 0.35 < modes["still"] / SCRIPTS["train"] < 0.65


def test_camera_modes() -> None:
    frames = 60
    goes = np.stack([np.linspace(-5.0, 5.0, frames), np.full(frames, 7.0)], axis=-1)
    cameras = {mode: draw_camera(np.random.default_rng(3), mode, frames, 12.0, goes) for mode in MODES}
    steps = {mode: np.diff(camera.yaw_deg) for mode, camera in cameras.items()}
    assert not steps["still"].any()
    assert (steps["panning"] > 0).all() or (steps["panning"] < 0).all()
    shake = np.abs(steps["hand-held"])
    assert 0 < shake.max() < 1.0
    middles = {
        mode: camera.project(np.concatenate([goes, np.ones((frames, 1))], axis=-1)[:, None])[:, 0, 0]
        for mode, camera in cameras.items()
    }
    assert np.abs(middles["following"] - 0.5).max() < 0.25 < np.abs(middles["still"] - 0.5).max()
    for camera in cameras.values():
        assert len(camera.yaw_deg) == len(camera.pitch_deg) == frames
        # The three axes of each frame are orthogonal.
        axes = camera.axes()
        assert np.allclose(axes @ axes.transpose(0, 2, 1), np.eye(3))
