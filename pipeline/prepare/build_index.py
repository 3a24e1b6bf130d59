"""Convert a data set's annotation files to an index, and list every rejected or changed record with the reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from extract.io.files import check_writable, write_text
from extract.store.feature_store import FeatureStore
from pipeline.data.index import write_index
from pipeline.errors import AnnotationError
from pipeline.prepare.records import Draft, Finding
from pipeline.prepare.rules import REJECTED, settle
from pipeline.prepare.videos import VideoFolder
from pipeline.types import Sample


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Result of `prepare`."""

    samples: list[Sample]
    """Valid samples, as written to the index."""
    rejected: int
    """Number of rejected records."""
    findings: Counter[str]
    """Number of findings by rule; a record may have several."""
    account: Path
    """JSON lines file with one finding per line."""

    def counts(self) -> dict[str | None, Counter[str]]:
        """Return the number of samples by split and then by kind of query."""
        found: dict[str | None, Counter[str]] = {}
        for sample in self.samples:
            found.setdefault(sample.split, Counter())[sample.kind] += 1
        return found

    def videos(self, split: str | None) -> int:
        """Return the number of videos in a split; None counts samples without a split."""
        return len({sample.video for sample in self.samples if sample.split == split})


def prepare(
    records: Iterable[Draft | Finding],
    out: Path,
    *,
    videos: Path | None,
    store: FeatureStore | None = None,
    decode_timeout_s: float = 60.0,
    on_video: Callable[[int, int], None] = lambda *_: None,
) -> Prepared:
    """Validate each record and write the index.

    The findings are written as JSON lines to the same folder, with the suffix .findings.jsonl. With `videos`, the facts
    about the videos are cached there with the suffix .videos.json.

    Args:
        records: records from a data set's reader.
        out: the index to write, a .parquet file.
        videos: folder of the videos; None uses the sizes and frame counts of the annotations, and the video names of
            the annotations as keys.
        store: a feature store of the videos; a video is not opened if the store has a record of it.
        decode_timeout_s: seconds without a response after which a video counts as unreadable.
        on_video: called with the number of videos done and the total.

    Raises:
        AnnotationError: no valid record remains, or `out` does not end in .parquet.
        MissingInputError: `videos` contains no video.
        OutputError: the index cannot be written.
    """
    check_index_name(out)
    check_writable(out)
    records = list(records)
    drafts = [record for record in records if isinstance(record, Draft)]
    findings = [record for record in records if isinstance(record, Finding)]
    rejected = len(findings)
    folder = None
    if videos is not None:
        folder = VideoFolder(videos, out.with_suffix(".videos.json"), store, timeout_s=decode_timeout_s)
        found = [folder.find(draft.video) for draft in drafts]
        folder.probe_all((video for video in found if not isinstance(video, str)), on_video)
    samples: dict[str, Sample] = {}
    for draft in drafts:
        sample, found_here = _settle(draft, folder)
        if sample is not None and sample.id in samples:
            sample, found_here = None, [_finding(draft, "duplicate id", "")]
        findings += found_here
        if sample is None:
            rejected += 1
        else:
            samples[sample.id] = sample
    account = out.with_suffix(".findings.jsonl")
    write_text(account, "".join(json.dumps(asdict(finding), ensure_ascii=False) + "\n" for finding in findings))
    if not samples:
        reasons = Counter(finding.rule for finding in findings if finding.rule in REJECTED).most_common(3)
        shown = ", ".join(f"{rule}: {count}" for rule, count in reasons) or "there are no records"
        raise AnnotationError(f"{out}: no usable sample ({shown}); see {account}")
    write_index(out, list(samples.values()))
    return Prepared(
        samples=list(samples.values()),
        rejected=rejected,
        findings=Counter(finding.rule for finding in findings),
        account=account,
    )


def check_index_name(out: Path) -> None:
    """Raise AnnotationError if the file name does not end in .parquet."""
    if out.suffix != ".parquet":
        raise AnnotationError(f"{out}: an index is a Parquet file; let its name end in .parquet")


def _settle(draft: Draft, folder: VideoFolder | None) -> tuple[Sample | None, list[Finding]]:
    if folder is None:
        settled = settle(draft, draft.video, None)
        return settled.sample, settled.findings
    video = folder.find(draft.video)
    if isinstance(video, str):
        return None, [_finding(draft, "no video", video)]
    info = folder.info(video)
    if isinstance(info, str):
        return None, [_finding(draft, "unreadable video", info)]
    settled = settle(draft, video.key, info)
    return settled.sample, settled.findings


def _finding(draft: Draft, rule: str, detail: str) -> Finding:
    return Finding(id=draft.id, video=draft.video, rule=rule, detail=detail)
