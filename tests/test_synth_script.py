"""Scripts and their sentences, without OpenGL: the sentences are read anew and checked against the motion."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from pipeline.synth.draw import FRAMES, draw_script
from pipeline.synth.gait import poses
from pipeline.synth.motion import places
from pipeline.synth.script import PEOPLE, Action, Actor, Script
from pipeline.synth.sentences import SPAN_FRACTION, Sample, draw_samples

SCRIPTS = 200
VERBS = {
    "stand": "rest",
    "standing": "rest",
    "lie": "rest",
    "lying": "rest",
    "walk": "walk",
    "walking": "walk",
    "run": "run",
    "running": "run",
    "roll": "roll",
    "rolling": "roll",
    "jump": "jump",
    "jumping": "jump",
    "wave": "wave",
    "waving": "wave",
}
SENTENCE = re.compile(
    r"(?:(?P<question>who|what)|(?:an?|the) (?:(?P<coat>\w+) )?(?P<category>man|woman|child|dog|ball))"
    r"(?: in (?:(?P<only_trousers>\w+) trousers|an? (?P<shirt>\w+) shirt|"
    r"(?P<colour>\w+)(?: and (?P<trousers>\w+) trousers)?))?"
    r" (?:(?P<now>stand|lie|walk|run|roll|jump|wave)s|is (?P<going_on>\w+ing))"
    r" (?:to the (?P<side>left|right)|(?P<depth>towards|away from) the camera|still|up and down|a hand)\??"
)


@cache
def drawn(number: int) -> tuple[Script, tuple[Sample, ...]]:
    rng = np.random.default_rng([7, number])
    script = draw_script(rng)
    return script, draw_samples(rng, script)


def way(script: Script, action: Action) -> str | None:
    """Where the action goes, judged by its path alone."""
    (x1, y1), (x2, y2) = action.start_m, action.end_m
    if (x1, y1) == (x2, y2):
        return None
    left, right = script.camera.project(np.array([[x1, y1, 0.0], [x2, y2, 0.0]]))[:, 0]
    if abs(x2 - x1) > abs(y2 - y1):
        return "right" if right > left else "left"
    return "away from" if y2 > y1 else "towards"


def is_true(query: str, script: Script, actor: Actor, action: Action) -> bool:
    found = SENTENCE.fullmatch(query)
    assert found is not None, query
    said = found.groupdict()
    colour = said["coat"] or said["shirt"] or said["colour"]
    trousers = said["only_trousers"] or said["trousers"]
    return (
        (said["question"] != "who" or actor.category in PEOPLE)
        and said["category"] in (None, actor.category)
        and colour in (None, actor.colour)
        and trousers in (None, actor.trousers)
        and VERBS[said["now"] or said["going_on"]] == action.verb
        and (said["side"] or said["depth"]) == way(script, action)
    )


def test_same_generator_same_script() -> None:
    for number in range(5):
        rng = np.random.default_rng([7, number])
        script = draw_script(rng)
        assert (script, draw_samples(rng, script)) == drawn(number)
    assert drawn(0) != drawn(1)


@pytest.mark.parametrize("start", range(0, SCRIPTS, 50))
def test_each_sentence_is_true_of_one_actor_in_one_span(start: int) -> None:
    for number in range(start, start + 50):
        script, samples = drawn(number)
        for sample in samples:
            true_of = [
                (index, action.start_frame, action.end_frame)
                for index, actor in enumerate(script.actors)
                for action in actor.actions
                if is_true(sample.query, script, actor, action)
            ]
            assert true_of == [(sample.actor_index, sample.start_frame, sample.end_frame)], sample.query


def test_sentences_and_spans_have_the_sizes_promised() -> None:
    samples = [(script, sample) for script, found in map(drawn, range(SCRIPTS)) for sample in found]
    assert len(samples) > SCRIPTS
    for script, sample in samples:
        assert 4 <= len(sample.query.split()) <= 20
        assert sample.query.endswith("?") == (sample.kind == "interrogative")
        assert 0 <= sample.start_frame < sample.end_frame <= script.frames
        length = (sample.end_frame - sample.start_frame) / script.frames
        assert SPAN_FRACTION[0] <= length <= SPAN_FRACTION[1]
    assert {sample.kind for _, sample in samples} == {"declarative", "interrogative"}
    lengths = [(sample.end_frame - sample.start_frame) / script.frames for script, sample in samples]
    assert 0.2 <= np.median(lengths) <= 0.5


def test_actions_fill_the_video_without_gaps_or_leaps() -> None:
    for number in range(SCRIPTS):
        script, _ = drawn(number)
        assert FRAMES[0] <= script.frames <= FRAMES[1]
        for actor in script.actors:
            edges = [(action.start_frame, action.end_frame) for action in actor.actions]
            assert edges[0][0] == 0
            assert edges[-1][1] == script.frames
            assert all(left[1] == right[0] for left, right in pairwise(edges))
            path = places(actor.actions)
            assert path.shape == (script.frames, 2)
            assert np.hypot(*np.diff(path, axis=0).T).max() < 4.0 / float(script.rate)
            assert script.camera.sees(path, height_m=actor.height_m, radius_m=0.0)


def test_people_in_a_scene_wear_distinct_colours() -> None:
    for number in range(SCRIPTS):
        script, _ = drawn(number)
        people = [actor for actor in script.actors if actor.category in PEOPLE]
        assert 2 <= len(people) <= 3
        assert len({actor.colour for actor in people}) == len(people)


def test_nobody_walks_through_another() -> None:
    for number in range(50):
        script, _ = drawn(number)
        paths = [places(actor.actions) for actor in script.actors]
        for index, path in enumerate(paths):
            for other in range(index):
                apart = np.hypot(*(path - paths[other]).T).min()
                assert apart > script.actors[index].radius_m + script.actors[other].radius_m


def test_poses_are_finite_for_every_frame() -> None:
    for number in range(20):
        script, _ = drawn(number)
        for actor in script.actors:
            for joint, angles in poses(actor, script.rate).items():
                assert angles.shape == (script.frames,), joint
                assert np.isfinite(angles).all(), joint
