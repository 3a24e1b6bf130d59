"""Rich tables that the commands print."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from extract.io.names import printable
from extract.records import Failure
from extract.store.feature_store import FeatureStore
from pipeline.evaluation.bootstrap import Estimate
from pipeline.evaluation.report import Change, Comparison
from pipeline.evaluation.score import Group, Report
from pipeline.prepare.build_index import Prepared
from pipeline.prepare.rules import REJECTED, RULES

if TYPE_CHECKING:
    from extract.store.statistics import ChannelStatistics


def report_table(report: Report) -> Table:
    """Return a table of mean metrics in percent with 95 % intervals: all samples, each group, and naive baselines."""
    metrics = list(report.whole.metrics)
    table = Table("samples", "n", *metrics, title=f"percent ± half the 95 % interval, protocol {report.protocol}")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for division, parts in report.groups.items():
        if division != "all" and len(parts) < 2:
            continue
        for name, part in parts.items():
            _add(table, name, part)
        table.add_section()
    for name, part in report.trivial.items():
        _add(table, name, part)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Return a table of the means of two reports and their difference with its 95 % interval, all in percent.

    Differences whose interval excludes 0 are marked with a star.
    """
    table = Table("metric", "A", "B", "B - A", "95 % interval", title=f"{comparison.samples} samples, percent")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (before, after, difference) in comparison.differences.items():
        interval = f"{_percent(difference.low, sign=True)} to {_percent(difference.high, sign=True)}"
        sure = " *" if difference.low > 0 or difference.high < 0 else ""
        table.add_row(name, _percent(before), _percent(after), _percent(difference.mean, sign=True), interval + sure)
    return table


def changes_table(changes: Iterable[Change]) -> Table:
    """Return a table of samples with their scores in both reports, in percent."""
    table = Table("sample", "query", "A", "B", "B - A")
    for change in changes:
        table.add_row(
            printable(change.id),
            printable(change.query),
            _percent(change.before),
            _percent(change.after),
            _percent(change.after - change.before, sign=True),
        )
    return table


def findings_table(prepared: Prepared) -> Table:
    """Return a table of the issues that `prepare` noticed, with their counts; those that reject a record come first."""
    table = Table("rule", "records", "outcome", "what it means")
    for rule, meaning in RULES.items():
        if count := prepared.findings[rule]:
            table.add_row(rule, str(count), "rejected" if rule in REJECTED else "kept", meaning)
    return table


def videos_table(store: FeatureStore) -> Table:
    """Return a table of all videos in a store, with their totals. Raises StoreError if a video is damaged."""
    settings = store.settings
    table = Table("video", "clips", "fps", "size", "seconds", "MB", title=f"{settings['backbone']}, {store.place}")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    clips, seconds, size, count = 0, 0.0, 0, 0
    for key in sorted(store.keys()):
        record, maps = store.record(key), store.lazy(key)
        assert record is not None
        held, stored = maps.shape[0], int(maps.nbytes_stored())
        clips, seconds, size, count = clips + held, seconds + record.duration_s, size + stored, count + 1
        table.add_row(
            printable(key), str(held), f"{record.fps:.2f}", f"{record.width}x{record.height}",
            f"{record.duration_s:.1f}", f"{stored / 1e6:.2f}",
        )  # fmt: skip
    table.add_section()
    table.add_row(f"{count} videos", str(clips), "", "", f"{seconds:.1f}", f"{size / 1e6:.2f}")
    return table


def failures_table(failures: Iterable[Failure]) -> Table:
    """Return a table of videos that could not be extracted, with causes and remedies."""
    table = Table("failed", "stage", "cause", "remedy")
    for failure in failures:
        table.add_row(*(printable(text) for text in (failure.key, failure.stage, failure.cause, failure.remedy)))
    return table


def record_table(store: FeatureStore, key: str) -> Table:
    """Return a table of the record, size, fraction of zeros and extraction settings of a video.

    Raises:
        StoreError: the video is missing or damaged.
    """
    maps, record = store.lazy(key), store.record(key)
    assert record is not None
    table = Table("", printable(key), show_header=True)
    zeros = sum(int((piece == 0).sum()) for piece in store.pieces(key))
    values = {**asdict(record), "clips": maps.shape[0], "bytes": int(maps.nbytes_stored())}
    values["zeros"] = f"{zeros / maps.size:.3f} of all values"
    for name, value in {**values, **store.settings}.items():
        if name != "key":
            table.add_row(name, printable(str(value)))
    return table


def statistics_table(statistics: ChannelStatistics) -> Table:
    """Return a table of the minimum, median and maximum over channels of each statistic."""
    table = Table("over channels", "least", "median", "most")
    for name, values in (("mean", statistics.mean), ("deviation", statistics.std), ("zeros", statistics.zeros)):
        table.add_row(name, *(f"{value:.4f}" for value in (values.min(), np.median(values), values.max())))
    return table


def _add(table: Table, name: str, group: Group) -> None:
    table.add_row(name, str(group.samples), *(_estimate(value) for value in group.metrics.values()))


def _estimate(value: Estimate) -> str:
    if math.isnan(value.mean):
        return "-"
    return f"{_percent(value.mean)} ±{50 * (value.high - value.low):.1f}"


def _percent(value: float, *, sign: bool = False) -> str:
    return "-" if math.isnan(value) else f"{100 * value:{'+' if sign else ''}.2f}"
