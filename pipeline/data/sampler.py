"""The order of training: a few sentences of a video side by side, so that a batch holds its features once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch.utils.data import Sampler

from pipeline.types import Sample, Span

T = TypeVar("T")


class GroupedSampler(Sampler[int]):
    """Every sample once, in groups of up to `size` of one segment of one video. Groups and their members are drawn."""

    def __init__(self, samples: Sequence[Sample], size: int, generator: torch.Generator) -> None:
        """Take samples in groups of `size`.

        Args:
            samples: of the data set, in its order.
            size: 1 makes it a plain shuffle.
            generator: decides the order.
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
