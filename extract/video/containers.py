"""Opening of video containers; all reading of video files goes through this module."""

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
"""Demuxers that may read a video. None of them opens other files, as the demuxers for playlists (ffconcat, HLS, DASH,
SDP) and numbered images do."""


def open_container(path: str | os.PathLike[str]) -> InputContainer:
    """Open a video file for reading.

    The path is always treated as a file name, even if it looks like a URL or a pattern. The file cannot make libav open
    another file or the network.

    Args:
        path: the video file.

    Returns:
        The open container; the caller closes it.

    Raises:
        av.FFmpegError: the file cannot be opened, or is in none of the formats in CONTAINERS.
        OSError: the operating system cannot open the file.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    with plain_name(os.fspath(path)) as name:
        # metadata_errors="replace": metadata that is not UTF-8, such as a Latin-1 title, must not make the video
        # unreadable.
        return av.open(name, options=options, metadata_errors="replace")


@contextmanager
def plain_name(path: str) -> Iterator[str]:
    """Context manager that yields a name for a file which libav always treats as a file.

    The name is valid until the block ends. Without the prefix "file:", libav parses "12:30.mp4" and "pipe:0.mp4" as
    URLs. Even with it, libav parses "%03d.jpg" as a pattern, and decord accepts only names in UTF-8. In these two cases
    the name is /dev/fd/N of an open descriptor.

    Args:
        path: the path of an existing file.

    Yields:
        A URL with the scheme "file:".

    Raises:
        OSError: the file cannot be opened.
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
    except UnicodeEncodeError:  # Python represents bytes that are not UTF-8 as surrogates
        return False
    return True


def period_s(container: InputContainer) -> float | None:
    """Return the time in seconds after which the container's clock wraps around to 0; None if it does not wrap.

    Args:
        container: an open container. MPEG streams have 33-bit timestamps at 90 kHz.
    """
    return 2**33 / 90_000 if container.format.name in ("mpegts", "mpeg") else None


def start_s(container: InputContainer) -> float | None:
    """Return the start time of the earliest stream in seconds, on the container's clock; None if it is unknown.

    It is the value that ffprobe prints as the format's start_time.

    Args:
        container: an open container.
    """
    return None if container.start_time is None else container.start_time / av.time_base
