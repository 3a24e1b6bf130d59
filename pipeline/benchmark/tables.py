"""The paper's tables: the experiments in them, and the values that the paper reports for VidSTG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TableName = Literal["table1", "table2", "table3"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: an experiment."""

    title: str
    config: str
    """Name of a file in configs/, without the suffix."""
    share: float = 1.0
    """Epoch multiplier."""
    paper: tuple[float, ...] | None = None
    """Values in the paper, in percent, in the order of the table's columns; None if the paper has no such row."""

    @property
    def name(self) -> str:
        """Name of the experiment and of the folder with its runs."""
        return self.config if self.share == 1 else f"{self.config}-{self.share:g}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper."""

    title: str
    temporal_gt: bool
    """True to score with the true span, so that only the boxes count."""
    rows: tuple[Row, ...]


PLUS = (
    Row(title="GKCMN+ (our extension)", config="gkcmn_plus"),
    Row(title="GKCMN+, 2.5x epochs", config="gkcmn_plus", share=2.5),
)

TABLES: dict[TableName, Table] = {
    "table1": Table(
        title="Table 1: tubes",
        temporal_gt=False,
        rows=(
            Row(title="BM", config="bm", paper=(32.62, 7.21, 9.03, 3.87)),
            Row(title="GKCMN", config="gkcmn", paper=(55.01, 19.26, 23.53, 15.41)),
            *PLUS,
        ),
    ),
    "table2": Table(
        title="Table 2: boxes, with the true span",
        temporal_gt=True,
        rows=(
            Row(title="BM", config="bm", paper=(22.37, 34.92, 16.33)),
            Row(title="GKCMN", config="gkcmn", paper=(37.25, 52.67, 34.51)),
            *PLUS,
        ),
    ),
    "table3": Table(
        title="Table 3: ablations",
        temporal_gt=False,
        rows=(
            Row(title="w/o SC (serial)", config="no_serial", paper=(54.16, 18.76, 22.35, 13.86)),
            Row(title="w/o PC (parallel)", config="no_parallel", paper=(54.22, 18.62, 22.17, 13.28)),
            Row(title="w/o MN (mixed network)", config="no_mixed", paper=(53.27, 17.28, 21.59, 12.86)),
            Row(title="w/o TA (attention)", config="no_temporal_attention", paper=(53.13, 18.88, 22.81, 14.73)),
            Row(title="w/o SK (point, no kernel)", config="single_point", paper=(54.95, 18.29, 22.68, 14.27)),
            Row(title="full", config="gkcmn", paper=(55.01, 19.26, 23.53, 15.41)),
        ),
    ),
}


def rows_of(tables: Sequence[Table]) -> dict[str, Row]:
    """Collect the rows of some tables by name. A row that occurs in several tables has the title of the first."""
    rows: dict[str, Row] = {}
    for row in (row for table in tables for row in table.rows):
        rows.setdefault(row.name, row)
    return rows
