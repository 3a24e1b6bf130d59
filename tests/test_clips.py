from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.clips import batched, clip_count, each_clip, iter_clips, plan_clips, pool_clips
from extract.prefetch import ahead


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 12))
def test_plan_and_stream_agree(frame_count: int, length: int, stride: int) -> None:
    stride = min(stride, length)
    plan = plan_clips(frame_count, length=length, stride=stride)
    frames = [np.full((1, 1, 3), number, np.uint8) for number in range(frame_count)]
    clips = list(iter_clips(frames, length=length, stride=stride))
    assert len(clips) == len(plan) == clip_count(frame_count, length=length, stride=stride)
    for clip, (start, end) in zip(clips, plan, strict=True):
        assert clip.shape == (length, 1, 1, 3)
        expected = [*range(start, end), *[end - 1] * (length - (end - start))]
        assert clip[:, 0, 0, 0].tolist() == expected


def test_pooling_is_a_mean() -> None:
    features = np.arange(5, dtype=np.float16)[:, None] * np.ones((1, 3), np.float16)
    pooled = pool_clips(features, np.array([[0, 2], [2, 5]]), piece=9)
    assert pooled.dtype == np.float16
    assert pooled[:, 0].tolist() == [0.5, 3.0]
    assert np.array_equal(pool_clips(features, np.array([[1, 2], [2, 3]]), piece=9), features[1:3])
    assert np.array_equal(pool_clips(features, each_clip(np.zeros((5, 2))), piece=2), features)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 5), st.integers(1, 7))
def test_pooling_holds_some_clips_at_a_time(sizes: list[int], first: int, piece: int) -> None:
    marks = first + np.cumsum([0, *sizes])
    groups = np.stack([marks[:-1], marks[1:]], axis=1)
    maps = Sliced(np.random.default_rng(0).random((int(marks[-1]) + 3, 2), np.float32))
    pooled = pool_clips(maps, groups, piece=piece)
    assert np.allclose(pooled, [maps.array[start:end].mean(axis=0) for start, end in groups])
    if max(sizes) > 1:
        assert maps.most <= piece


class Sliced:
    """An array that remembers the longest slice that it gave."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, clips: slice) -> np.ndarray:
        self.most = max(self.most, len(self.array[clips]))
        return self.array[clips]


@given(st.integers(1, 200))
def test_every_frame_is_in_a_clip_and_no_clip_is_idle(frame_count: int) -> None:
    plan = plan_clips(frame_count, length=8, stride=4)
    assert set(range(frame_count)) == {frame for start, end in plan for frame in range(start, end)}
    assert (np.diff(plan[:, 1]) > 0).all()


def test_known_counts() -> None:
    assert [clip_count(n, length=8, stride=4) for n in (1, 7, 8, 9, 12, 13)] == [1, 1, 1, 2, 2, 3]
    with pytest.raises(ValueError, match="frame_count"):
        clip_count(0, length=8, stride=4)


def test_batches_keep_order_and_the_rest() -> None:
    clips = [np.full((8, 1, 1, 3), number, np.uint8) for number in range(5)]
    assert [len(batch) for batch in batched(clips, 2)] == [2, 2, 1]
    assert np.concatenate(list(batched(clips, 2)))[:, 0, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_items_are_made_ahead_in_order_and_no_more_than_that() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    with closing(ahead(items(), 2)) as found:
        assert next(found) == 0
        assert next(found) == 1
    assert len(made) <= 4
    assert list(ahead(iter(range(5)), 3)) == [0, 1, 2, 3, 4]
    assert list(ahead(iter([]), 3)) == []


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second")

    found = ahead(items(), 3)
    assert next(found) == 1
    with pytest.raises(ValueError, match="the second"):
        next(found)
