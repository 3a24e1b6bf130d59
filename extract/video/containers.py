"""The one place that opens a video's container for reading."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer

CONTAINERS = (
    "mov,matroska,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,gif,ogg,mxf,nut,rm,wtv,dv,nuv,nsv,gxf,pva,ty,swf,ivf,obu,"
    "av1,h264,hevc,vvc,m4v,mjpeg,apng,vc1,dirac,yuv4mpegpipe"
)
"""Demuxers that may read a video. None of them opens another file, as those for playlists (ffconcat, HLS, DASH, SDP)
and numbered pictures do."""


def open_container(path: str | os.PathLike[str]) -> InputContainer:
    """Open a video file to read it.

    The path is a file's name whatever it looks like, and the file can make libav open neither a second file nor the
    network.

    Raises:
        av.FFmpegError: it cannot be opened, or is in none of the formats in CONTAINERS.
        OSError: the same, where the operating system says so.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    with plain_name(os.fspath(path)) as name:
        # A title in Latin-1 is no reason to refuse a video.
        return av.open(name, options=options, metadata_errors="replace")


@contextmanager
def plain_name(path: str) -> Iterator[str]:
    """Give a name of that file that libav takes for a file and nothing else, valid while it is being opened.

    Without "file:" it takes "12:30.mp4" and "pipe:0.mp4" for URLs. It takes "%03d.jpg" for a pattern in any case, and
    decord takes no name that is not UTF-8: an open file has a name without either.
    """
    if "%" not in path and _is_utf8(path):
        yield f"file:{path}"
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield f"file:/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _is_utf8(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # of bytes that are not UTF-8 Python makes surrogates
        return False
    return True


def period_s(container: InputContainer) -> float | None:
    """Seconds after which the container's clock starts at 0 again; None if it has bits enough."""
    return 2**33 / 90_000 if container.format.name in ("mpegts", "mpeg") else None


def start_s(container: InputContainer) -> float | None:
    """When the earliest stream starts, on the container's own clock, as ffprobe's format start_time; None as there."""
    return None if container.start_time is None else container.start_time / av.time_base
