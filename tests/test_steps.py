import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.clips import plan_clips
from pipeline.data.time_axis import interpolate_boxes, step_axis


def test_a_step_is_a_clip_where_there_is_room() -> None:
    axis = step_axis(plan_clips(28, length=8, stride=4), None, max_steps=200)
    assert axis.centres.tolist() == [4, 8, 12, 16, 20, 24]
    assert axis.edges.tolist() == [0, 6, 10, 14, 18, 22, 28]
    assert axis.segment == (0, 28)


@given(st.integers(1, 3000), st.integers(1, 200))
def test_groups_are_contiguous_and_nearly_equal(frames: int, max_steps: int) -> None:
    clips = plan_clips(frames, length=8, stride=4)
    axis = step_axis(clips, None, max_steps=max_steps)
    sizes = np.diff(axis.groups, axis=1)[:, 0]
    assert axis.steps == min(len(clips), max_steps)
    assert axis.groups[0, 0] == 0
    assert axis.groups[-1, 1] == len(clips)
    assert (axis.groups[1:, 0] == axis.groups[:-1, 1]).all()
    assert sizes.max() - sizes.min() <= 1
    assert (np.diff(axis.edges) > 0).all()


@given(st.integers(1, 2000), st.integers(1, 60), st.data())
def test_frames_and_steps_are_inverse(frames: int, max_steps: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, frames - 1))
    end = data.draw(st.integers(start + 1, frames))
    axis = step_axis(plan_clips(frames, length=8, stride=4), (start, end), max_steps=max_steps)
    moments = np.linspace(start, end, 17)
    assert np.allclose(axis.to_frames(axis.to_steps(moments)), moments)
    assert axis.to_steps(np.array([start, end])).tolist() == [0, axis.steps]


def test_a_segment_takes_the_clips_whose_middle_it_holds() -> None:
    clips = plan_clips(100, length=8, stride=4)
    axis = step_axis(clips, (40, 60), max_steps=200)
    assert axis.centres.tolist() == [40, 44, 48, 52, 56]
    tiny = step_axis(clips, (41, 43), max_steps=200)
    assert tiny.steps == 1


def test_boxes_are_interpolated_and_held_at_the_ends() -> None:
    boxes = np.array([[0, 0, 1, 1], [10, 10, 21, 21]], np.float32)
    found = interpolate_boxes(np.array([0.0, 2.0, 3.0, 9.0]), np.array([2.0, 4.0]), boxes)
    assert found[:, 2] == pytest.approx([1, 1, 11, 21])
