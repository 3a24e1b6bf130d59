"""What commands print, as rich tables."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.table import Table

from pipeline.intervals import Estimate
from pipeline.prepare.rules import REJECTED, RULES
from pipeline.prepare.run import Prepared
from pipeline.report import Change, Comparison
from pipeline.score import Group, Report


def report_table(report: Report) -> Table:
    """Means in percent with their 95 % intervals, whole, by division, and of the trivial rows."""
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
    """Both means and their difference, in percent."""
    table = Table("metric", "A", "B", "B - A", "95 % interval", title=f"{comparison.samples} samples, percent")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (before, after, difference) in comparison.differences.items():
        interval = f"{_percent(difference.low, sign=True)} to {_percent(difference.high, sign=True)}"
        sure = " *" if difference.low > 0 or difference.high < 0 else ""
        table.add_row(name, _percent(before), _percent(after), _percent(difference.mean, sign=True), interval + sure)
    return table


def changes_table(changes: Iterable[Change]) -> Table:
    """Samples, each with its score in both."""
    table = Table("sample", "query", "A", "B", "B - A")
    for change in changes:
        table.add_row(
            change.id,
            change.query,
            _percent(change.before),
            _percent(change.after),
            _percent(change.after - change.before, sign=True),
        )
    return table


def findings_table(prepared: Prepared) -> Table:
    """Rules that records met, those that reject first."""
    table = Table("rule", "records", "outcome", "what it means")
    for rule, meaning in RULES.items():
        if count := prepared.findings[rule]:
            table.add_row(rule, str(count), "rejected" if rule in REJECTED else "kept", meaning)
    return table


def _add(table: Table, name: str, group: Group) -> None:
    table.add_row(name, str(group.samples), *(_estimate(value) for value in group.metrics.values()))


def _estimate(value: Estimate) -> str:
    if math.isnan(value.mean):
        return "-"
    return f"{_percent(value.mean)} ±{50 * (value.high - value.low):.1f}"


def _percent(value: float, *, sign: bool = False) -> str:
    return "-" if math.isnan(value) else f"{100 * value:{'+' if sign else ''}.2f}"
