"""Samples as the model takes them: one rule for training, evaluation and grounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from extract.errors import StoreError
from extract.records import EncodedQuery, VideoFeatures, VideoRecord
from extract.store.feature_store import FeatureStore
from model.inputs import ModelInput, ModelTarget
from pipeline.data.sample_rules import first_fault
from pipeline.data.time_axis import StepAxis, interpolate_boxes, step_axis
from pipeline.errors import AnnotationError
from pipeline.types import Sample, Span

NEAR_FRAMES = 2.0
"""A step has a true box if a labelled frame lies that near to its moment."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One sample, on its own time axis."""

    features: np.ndarray
    """float16 (step, channel, 7, 7)."""
    words: np.ndarray
    """float32 (word, dim)."""
    axis: StepAxis
    record: VideoRecord
    target: ExampleTarget | None
    """None where the truth is not known, as in grounding."""
    sample: Sample | None


@dataclass(frozen=True, kw_only=True)
class ExampleTarget:
    """The truth on the step axis; see `model.inputs.ModelTarget`."""

    boxes: np.ndarray
    """float32 (step, 4), xyxy in [0, 1]."""
    box_mask: np.ndarray
    """bool (step,)."""
    span: np.ndarray
    """float32 (2,), in steps."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Examples, padded together."""

    inputs: ModelInput
    target: ModelTarget | None
    examples: list[Example]
    """In order; their features are in `inputs` alone."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the model's time axis is laid over a video."""

    max_steps: int
    segment: Span | None = None
    """In frames; None is the whole video."""
    channels: int | None = None
    """That the model takes; None takes any."""

    def axis(self, clip_frames: np.ndarray) -> StepAxis:
        """The steps, given the frame ranges of the video's clips."""
        return step_axis(clip_frames, self.segment, max_steps=self.max_steps)

    def read(self, store: FeatureStore, key: str) -> VideoFeatures:
        """A video's features, one mean of clips a step; however long it is, no more is held.

        Raises:
            StoreError: it is not there, damaged, or has another number of channels.
        """
        video = store.read(key, lambda clip_frames: self.axis(clip_frames).groups)
        if self.channels not in (None, video.i3d.shape[1]):
            raise StoreError(
                f"{store.place}: {key!r} has {video.i3d.shape[1]} channels, the model takes {self.channels}; "
                "extract it again with --redo"
            )
        return video


def make_example(video: VideoFeatures, query: EncodedQuery, layout: Layout) -> Example:
    """Put a video that `layout` has read and a query together; the truth is not known."""
    return Example(
        features=video.i3d,
        words=query.vectors,
        axis=layout.axis(video.clip_frames),
        record=video.record,
        target=None,
        sample=None,
    )


def make_target(sample: Sample, axis: StepAxis, record: VideoRecord) -> ExampleTarget:
    """The truth on the step axis: boxes of the steps inside the true span, and the span.

    A span so short that no step's moment lies inside supervises the nearest step.
    """
    start, end = sample.span
    labelled = ~np.isnan(sample.boxes[:, 0])
    times = np.arange(start, end)[labelled] + 0.5
    scale = np.array([record.width, record.height] * 2, np.float32)
    truth = (sample.boxes[labelled] / scale).clip(0, 1)
    gaps = np.abs(axis.centres[:, None] - times).min(axis=1)
    mask = (axis.centres >= start) & (axis.centres < end) & (gaps <= NEAR_FRAMES)
    if not mask.any():
        mask[gaps.argmin()] = True
    return ExampleTarget(
        boxes=interpolate_boxes(axis.centres, times, truth),
        box_mask=mask,
        span=axis.to_steps(np.array(sample.span)).astype(np.float32),
    )


def collate(examples: Sequence[Example]) -> Batch:
    """Pad examples to the longest, and keep once what they share; without truths the batch has no target."""
    targets = [example.target for example in examples if example.target is not None]
    target = None
    if len(targets) == len(examples):
        target = ModelTarget(
            boxes=_pad([item.boxes for item in targets]),
            box_mask=_pad([item.box_mask for item in targets]),
            span=torch.from_numpy(np.stack([item.span for item in targets])),
        )
    shared = {id(example.features): example.features for example in examples}
    places = {key: place for place, key in enumerate(shared)}
    return Batch(
        inputs=ModelInput(
            features=_pad(list(shared.values())),
            video=torch.tensor([places[id(example.features)] for example in examples]),
            step_mask=_pad([np.ones(example.axis.steps, bool) for example in examples]),
            words=_pad([example.words for example in examples]),
            word_mask=_pad([np.ones(len(example.words), bool) for example in examples]),
        ),
        target=target,
        # Without the features, which would travel twice from a loader's process.
        examples=[replace(example, features=example.features[:0]) for example in examples],
    )


def _pad(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)


class GroundingDataset(Dataset[Example]):
    """Labelled samples, read from a store."""

    def __init__(
        self,
        samples: Sequence[Sample],
        store: FeatureStore,
        queries: Mapping[str, EncodedQuery],
        *,
        max_steps: int,
        cache_mb: int,
        channels: int | None = None,
        index: str | Path = "the index",
    ) -> None:
        """Check that the store holds what the samples need.

        Args:
            samples: in the order of their numbers.
            store: of the features.
            queries: by their text.
            max_steps: as `Layout.max_steps`.
            cache_mb: memory for features that are kept.
            channels: as `Layout.channels`; a video with others is refused when it is read.
            index: file of the samples, which messages name.

        Raises:
            AnnotationError: a video is not in the store, a sample has no box, or one does not fit its video.
        """
        self.samples = list(samples)
        self._store = store
        self._queries = queries
        self._layout = Layout(max_steps=max_steps, channels=channels)
        self._cache: dict[tuple[str, Layout], VideoFeatures] = {}
        self._cache_room = cache_mb << 20
        self._check(index)

    def _check(self, index: str | Path) -> None:
        records = {key: self._store.record(key) for key in {sample.video for sample in self.samples}}
        if missing := sorted(key for key, record in records.items() if record is None):
            raise AnnotationError(
                f"{self._store.place}: lacks {len(missing)} of {len(records)} videos of the index, first "
                f"{missing[0]!r}; extract them with: gkcmn-pipe features VIDEOS --store {self._store.place}"
            )
        known: list[Sample] = []
        for sample in self.samples:
            if not sample.labelled.any():
                raise AnnotationError(
                    f"{index}: sample {sample.id!r}: has no box; prepare the index with the data set's boxes (--boxes)"
                )
            record = records[sample.video]
            assert record is not None
            if sample.size not in (None, (record.width, record.height)):
                raise AnnotationError(
                    f"{index}: sample {sample.id!r}: size: its boxes are of a picture of "
                    f"{sample.size[0]}x{sample.size[1]}, and {sample.video!r} in {self._store.place} is "
                    f"{record.width}x{record.height}; prepare the index again, which then scales them"
                )
            known.append(replace(sample, size=(record.width, record.height), frame_count=record.frame_count))
        if (found := first_fault(known, set())) is not None:
            raise AnnotationError(f"{index}: sample {known[found[0]].id!r}: {found[1]}")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        """A batch, of which samples of one segment share their features. The loader calls it, if there is one."""
        shared: dict[tuple[str, Layout], Example] = {}
        examples: list[Example] = []
        for sample in (self.samples[index] for index in indices):
            query, layout = self._queries[sample.query], replace(self._layout, segment=sample.segment)
            key = (sample.video, layout)
            if key not in shared:
                shared[key] = make_example(self._video(*key), query, layout)
            target = make_target(sample, shared[key].axis, shared[key].record)
            examples.append(replace(shared[key], words=query.vectors, target=target, sample=sample))
        return examples

    def _video(self, key: str, layout: Layout) -> VideoFeatures:
        if (video := self._cache.get((key, layout))) is None:
            video = layout.read(self._store, key)
            if video.i3d.nbytes <= self._cache_room:
                self._cache_room -= video.i3d.nbytes
                self._cache[key, layout] = video
        return video
