"""The order of training samples. Queries about the same video follow each other, so that a batch shares features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import Sampler

from pipeline.types import Sample, Span

T = TypeVar("T")


class GroupedSampler(Sampler[int]):
    """Yield each sample once, in groups of up to `size` samples of the same segment of the same video.

    The order of the groups and the order within each segment are shuffled.
    """

    def __init__(self, samples: Sequence[Sample], size: int, generator: torch.Generator) -> None:
        """Group the samples by segment.

        Args:
            samples: the samples of the data set, in its order.
            size: maximum number of samples in a group; 1 shuffles all samples independently.
            generator: random number generator for shuffling.
        """
        self.generator = generator
        self._size = size
        self._segments: dict[tuple[str, Span | None], list[int]] = {}
        for index, sample in enumerate(samples):
            self._segments.setdefault((sample.video, sample.segment), []).append(index)

    def __len__(self) -> int:
        return sum(map(len, self._segments.values()))

    def __iter__(self) -> Iterator[int]:
        drawn = [self._shuffled(members) for members in self._segments.values()]
        groups = [members[at : at + self._size] for members in drawn for at in range(0, len(members), self._size)]
        for group in self._shuffled(groups):
            yield from group

    def _shuffled(self, things: Sequence[T]) -> list[T]:
        return [things[place] for place in torch.randperm(len(things), generator=self.generator).tolist()]
