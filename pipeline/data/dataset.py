"""Build model inputs and targets from samples and stored features, for training, evaluation and inference alike."""

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
"""Maximum distance, in frames, from a time step's center to a labeled frame for the step to get a true box."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """The model's data for one query about one video, not yet padded."""

    features: np.ndarray
    """float16 (step, channel, 7, 7): one feature map per time step."""
    words: np.ndarray
    """float32 (word, dim): the query's word vectors."""
    axis: StepAxis
    record: VideoRecord
    target: ExampleTarget | None
    """None if there are no labels, as in inference."""
    sample: Sample | None


@dataclass(frozen=True, kw_only=True)
class ExampleTarget:
    """Labels on the step axis; see `model.inputs.ModelTarget`."""

    boxes: np.ndarray
    """float32 (step, 4): xyxy in [0, 1]."""
    box_mask: np.ndarray
    """bool (step,): True where the step has a true box."""
    span: np.ndarray
    """float32 (2,): start and end of the true span, in time steps."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Several examples, padded to the same length."""

    inputs: ModelInput
    target: ModelTarget | None
    examples: list[Example]
    """The examples in batch order; their features are empty, because `inputs` holds them."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the features of a video are mapped to the model's time steps."""

    max_steps: int
    segment: Span | None = None
    """Frame range to use; None means the whole video."""
    channels: int | None = None
    """Number of feature channels that the model takes; None accepts any number."""

    def axis(self, clip_frames: np.ndarray) -> StepAxis:
        """Return the time axis of a video.

        Args:
            clip_frames: int (clip, 2), half-open frame ranges of the video's clips.
        """
        return step_axis(clip_frames, self.segment, max_steps=self.max_steps)

    def read(self, store: FeatureStore, key: str) -> VideoFeatures:
        """Read a video's features and average the clips of each time step.

        Memory depends on the number of time steps, not on the length of the video.

        Args:
            store: an open feature store.
            key: key of the video in the store.

        Raises:
            StoreError: the video is missing or damaged, or has a different number of channels.
        """
        video = store.read(key, lambda clip_frames: self.axis(clip_frames).groups)
        if self.channels not in (None, video.i3d.shape[1]):
            raise StoreError(
                f"{store.place}: {key!r} has {video.i3d.shape[1]} channels, the model takes {self.channels}; "
                "extract it again with --redo"
            )
        return video


def make_example(video: VideoFeatures, query: EncodedQuery, layout: Layout) -> Example:
    """Combine a video and a query into an example without labels.

    Args:
        video: features that `layout.read` returned.
        query: the encoded query.
        layout: the layout with which the video was read.
    """
    return Example(
        features=video.i3d,
        words=query.vectors,
        axis=layout.axis(video.clip_frames),
        record=video.record,
        target=None,
        sample=None,
    )


def make_target(sample: Sample, axis: StepAxis, record: VideoRecord) -> ExampleTarget:
    """Map a sample's true tube to the step axis.

    A step has a true box if its center is inside the true span and within `NEAR_FRAMES` of a labeled frame. If there
    is no such step, for example because the span is very short, the step nearest to a labeled frame gets the box.

    Args:
        sample: a sample with at least one box.
        axis: the time axis of the sample's segment.
        record: the video's record, for the size of its frames in pixels.
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
    """Pad examples to the longest and combine them into a batch.

    Examples that share one feature array keep sharing it in the batch. The batch has a target only if all examples
    have one.

    Args:
        examples: at least one example, all with the same number of feature channels.
    """
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
        # Drop the features: a data loader's worker process would otherwise send them twice.
        examples=[replace(example, features=example.features[:0]) for example in examples],
    )


def _pad(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    return pad_sequence([torch.from_numpy(array) for array in arrays], batch_first=True)


class GroundingDataset(Dataset[Example]):
    """A data set of labeled samples whose features are read from a feature store."""

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
        """Check that the store has every video and that the samples match their videos.

        Args:
            samples: labeled samples, in the order of the data set's indices.
            store: the feature store to read from.
            queries: encoded queries by their text.
            max_steps: maximum number of time steps of a video.
            cache_mb: memory in MiB for features that are kept between reads; 0 keeps none.
            channels: number of feature channels that the model takes; None accepts any. A video with a different
                number raises StoreError when it is read.
            index: the file that the samples come from, for error messages.

        Raises:
            AnnotationError: a video is missing from the store, a sample has no box, or a sample does not match its
                video.
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
        """Return the examples of a batch; samples of the same segment share one feature array.

        PyTorch's DataLoader calls this method, if it exists, in place of `__getitem__`.
        """
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
