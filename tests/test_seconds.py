"""The times of frames and of overlay videos, in seconds, equal those of a player.

The expected times are `pts_time - start_time` as `ffprobe -show_format -show_frames` of FFmpeg 5.1.9 reported them for
the file that the test creates. There is one exception: if timestamps jump back, we expect time to continue with the
next frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
import pytest

import extract.video.worker
from extract.video.containers import start_s
from extract.video.reader import open_video
from extract.video.worker import Source
from pipeline.media.overlay import write_overlay
from pipeline.types import Tube
from tests.media import moving_square
from tests.test_video import rotated

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.video.stream import VideoStream

TICK = Fraction(1, 90_000)
PERIOD_S = 2**33 / 90_000
SIX = [n / 10 for n in range(6)]
STILL = [*SIX, 15.5, 15.6]
MINUTES = [60.0 * n for n in range(5)]


def make(
    path: Path,
    times_s: Iterable[float],
    *,
    sound_s: tuple[float, float] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    form: str | None = None,
) -> Path:
    """Write a video with frames at given times, and with silent audio.

    Args:
        path: the file to write.
        times_s: presentation time of each frame in seconds.
        sound_s: start and end of the silence in seconds; None adds no audio.
        codec: video codec, by FFmpeg's name.
        options: options of the video encoder.
        form: container format; None derives it from the file name.
    """
    times = list(times_s)
    with av.open(str(path), "w", format=form, options={"avoid_negative_ts": "disabled"}) as out:
        stream = cast("VideoStream", out.add_stream(codec, rate=10, options=options or {"bf": "0"}))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if codec == "libx264":
            stream.codec_context.time_base = TICK
        packets: list[Packet[VideoStream] | Packet[AudioStream]] = []
        for number, frame in enumerate(moving_square(len(times))):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if codec == "libx264":
                picture.pts, picture.time_base = round(times[number] / TICK), TICK
            packets += stream.encode(picture)
        packets += stream.encode(None)
        if codec != "libx264":  # such an encoder has a constant frame rate, so set the times on its packets
            for packet, time_s in zip(packets, times, strict=True):
                packet.time_base, packet.pts, packet.duration = TICK, round(time_s / TICK), 9000
                packet.dts = packet.pts
        if sound_s is not None:
            # PCM has no encoder delay, but not every container supports it.
            sound = "pcm_s16le" if path.suffix in (".mkv", ".mov") else "mp2"
            packets += silence(cast("AudioStream", out.add_stream(sound, rate=48000)), *sound_s)
        for packet in sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base):
            out.mux(packet)
    return path


def silence(stream: AudioStream, start_s: float, end_s: float) -> list[Packet[AudioStream]]:
    packets = []
    for start in range(round(start_s * 48000), round(end_s * 48000), 1152):
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), format="s16", layout="stereo")
        piece.sample_rate, piece.pts, piece.time_base = 48000, start, Fraction(1, 48000)
        packets += stream.encode(piece)
    for number, packet in enumerate(packets):
        packet.pts = packet.dts = round((start_s + number * 1152 / 48000) / packet.time_base)
    return packets


def by_av(path: Path) -> Source | None:
    return extract.video.worker.open_av(str(path))


def by_decord(path: Path) -> Source | None:
    return extract.video.worker.open_decord(str(path), extract.video.worker.look(str(path)))


def seconds(path: Path, opened: Callable[[Path], Source | None]) -> list[float]:
    source = opened(path)
    assert source is not None
    return [start_s for start_s, _, _ in source.frames]


def chosen(path: Path) -> Source | None:
    return extract.video.worker.open_source(str(path))


def both(path: Path) -> list[list[float]]:
    """Return the frame times from PyAV and from decord.

    decord has no times for an MKV file whose video stream has no start time; the decoder that is chosen replaces it.
    """
    assert path.suffix == ".mkv" or by_decord(path) is not None
    return [seconds(path, by_av), seconds(path, chosen if by_decord(path) is None else by_decord)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(
    ("picture_s", "sound_s", "first_s"),
    [(0.5, 0.0, 0.5), (2.0, 0.0, 2.0), (4.0, 0.0, 4.0), (0.0, 2.0, 0.0), (3.0, 2.0, 1.0), (3.0, None, 0.0)],
)
def test_a_late_start_counts_for_both_decoders(
    tmp_path: Path, suffix: str, picture_s: float, sound_s: float | None, first_s: float
) -> None:
    sound = None if sound_s is None else (sound_s, sound_s + 0.5)
    path = make(tmp_path / f"a.{suffix}", [picture_s + t for t in SIX], sound_s=sound)
    for found in both(path):
        assert found == pytest.approx([first_s + t for t in SIX], abs=0.0011)
    source = chosen(path)
    assert source is not None
    assert source.info.decoder.startswith("decord" if suffix != "mkv" or sound_s == 0.0 else "")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("times_s", [STILL, MINUTES], ids=["pause", "one frame a minute"])
def test_a_pause_counts_for_both_decoders(tmp_path: Path, suffix: str, times_s: list[float]) -> None:
    for found in both(make(tmp_path / f"a.{suffix}", times_s)):
        assert found == pytest.approx(times_s, abs=0.0011)


def test_what_is_read_of_a_late_picture(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", [2 + t for t in SIX], sound_s=(0.0, 2.6))
    with open_video(path, timeout_s=30) as stream:
        assert len(list(stream.frames)) == 6
    assert stream.frame_times == pytest.approx([2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6], abs=0.0011)
    assert stream.true_info.duration_s == pytest.approx(0.6, abs=0.0011)
    assert stream.fault is None
    assert extract.video.worker.open_av(str(path)).info.frame_count == 6


def test_a_negative_start(tmp_path: Path) -> None:
    """The first timestamp is -0.7 s. In MP4 an edit list hides everything before 0; in MKV nothing is hidden."""
    times = [t - 0.5 for t in (*SIX, 0.6, 0.7)]
    hidden = make(tmp_path / "a.mp4", times, sound_s=(-0.7, 0.2))
    for opened in (by_av, chosen):
        assert seconds(hidden, opened) == pytest.approx([0.0, 0.1, 0.2], abs=0.0011)
    shown = make(tmp_path / "a.mkv", times, sound_s=(-0.7, 0.2))
    assert seconds(shown, by_av) == pytest.approx([0.2 + t for t in (*SIX, 0.6, 0.7)], abs=0.0011)


TRANSPORT = {
    "still.ts": (STILL, STILL),
    "minutes.ts": (MINUTES, MINUTES),
    "late.ts": ([2 + t for t in SIX], SIX),
    "pauses.ts": ([0.0, 0.1, 12.0, 12.1, 40.0, 3640.0], [0.0, 0.1, 12.0, 12.1, 40.0, 3640.0]),
    "wrap.ts": ([PERIOD_S - 0.3 + t for t in SIX], SIX),
    "wrap-minutes.ts": ([PERIOD_S - 130 + t for t in MINUTES], MINUTES),
}


@pytest.mark.parametrize("name", TRANSPORT)
def test_a_transport_stream_keeps_its_gaps(tmp_path: Path, name: str) -> None:
    times_s, expected = TRANSPORT[name]
    path = make(tmp_path / name, times_s)
    assert seconds(path, chosen) == pytest.approx(expected, abs=1e-4)


def test_a_still_picture_of_15_seconds(tmp_path: Path) -> None:
    times = [n / 25 for n in range(30)]
    path = make(tmp_path / "a.ts", [*times, 16.2], sound_s=(0.0, 16.4))
    assert seconds(path, by_av)[-1] == pytest.approx(16.2, abs=1e-4)


def test_a_clock_wraps_once_more_than_libav_knows(tmp_path: Path) -> None:
    """Libav does not unwrap a clock that starts at 0: ffprobe shows the last two frames at 556.28 and 1156.28 s."""
    times = [600.0 * n for n in range(158, 162)]
    path = make(tmp_path / "a.ts", [0.0, *times])
    assert seconds(path, by_av) == pytest.approx([0.0, *times], abs=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.0, 0.0, [*SIX, *(0.6 + t for t in SIX)]),
        (1000.0, 0.0, [*SIX, *(0.6 + t for t in SIX)]),  # libav assumes that the second wrapped: 94443.7 s in ffprobe
        (0.0, 1000.0, [*SIX, *(1000.0 + t for t in SIX)]),
        (PERIOD_S - 3, 0.0, [*SIX, *(3.0 + t for t in SIX)]),
    ],
    ids=["again", "back", "ahead", "wrapped"],
)
def test_joined_files_rise(tmp_path: Path, first: float, second: float, expected: list[float]) -> None:
    parts = [make(tmp_path / f"{n}.ts", [n_s + t for t in SIX]) for n, n_s in enumerate((first, second))]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert seconds(path, by_av) == pytest.approx(expected, abs=1e-4)


def test_joined_program_streams_rise(tmp_path: Path) -> None:
    one = make(tmp_path / "a.mpg", SIX, codec="mpeg2video", options={"bf": "0"}, form="mpeg").read_bytes()
    (tmp_path / "b.mpg").write_bytes(one + one)
    assert seconds(tmp_path / "b.mpg", by_av) == pytest.approx([*SIX, *(0.6 + t for t in SIX)], abs=1e-4)


def test_an_avi_that_starts_late(tmp_path: Path) -> None:
    """The start is a number of frames in the stream header."""
    path = make(tmp_path / "a.avi", SIX, codec="mpeg4")
    content = bytearray(path.read_bytes())
    at = content.index(b"vids") + 28
    content[at : at + 4] = (20).to_bytes(4, "little")
    path.write_bytes(content)
    for opened in (by_av, chosen):
        assert seconds(path, opened) == pytest.approx([2 + t for t in SIX], abs=1e-4)


@pytest.mark.parametrize("rate", [10, 20], ids=["its own rate", "twice its rate"])
@pytest.mark.parametrize("late_s", [0.0, 0.5, 2.0, 4.0])
def test_a_late_picture_of_an_avi_with_b_frames(tmp_path: Path, late_s: float, rate: int) -> None:
    """The muxer sets the first packet to 0; all others keep their times. Decoding delays each frame by one packet."""
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=rate, options={"bf": "1", "b_strategy": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for frame in moving_square(6):
            packets += stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))
        packets += stream.encode(None)
        for number, packet in enumerate(packets):
            packet.time_base, packet.dts = Fraction(1, rate), round(rate * (late_s + number / 10))
            packet.pts = packet.dts
            out.mux(packet)
    for opened in (by_av, chosen):
        assert seconds(path, opened) == pytest.approx([late_s + t for t in SIX], abs=1e-4)


def test_an_empty_packet_repeats_a_frame(tmp_path: Path) -> None:
    """Theora has such packets. The previous frame stays visible, and the file can be read."""
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        packets = []
        for frame in moving_square(6):
            packets += stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24"))
        for number, packet in enumerate([*packets, *stream.encode(None)]):
            whole = packet
            if number == 3:
                whole = av.Packet(b"")
                whole.stream, whole.pts, whole.dts, whole.time_base = stream, packet.pts, packet.dts, packet.time_base
            out.mux(whole)
    for opened in (by_av, chosen):
        assert seconds(path, opened) == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.5], abs=1e-4)


TUBE = Tube(span=(0, 2), boxes=np.array([[4.0, 20.0, 20.0, 40.0]] * 2, np.float32), score=1.0)


def overlay(path: Path) -> Path:
    out = path.with_name("overlay.mp4")
    write_overlay(path, TUBE, "x", out, frame_count=6, timeout_s=30)
    return out


def starts(path: Path) -> dict[str, list[float]]:
    """Return the start times of packets in seconds, ascending, by stream type (video, audio)."""
    found: dict[str, list[float]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None and not packet.is_discard:
                at_s = packet.pts * packet.time_base - (start_s(container) or 0)
                found.setdefault(packet.stream.type, []).append(float(at_s))
    return {kind: sorted(times) for kind, times in found.items()}


@pytest.mark.parametrize("name", ["late-picture.mp4", "late-picture.mkv", "late-sound.mov", "joined.ts"])
def test_an_overlay_keeps_picture_and_sound_in_step(tmp_path: Path, name: str) -> None:
    picture_s, sound_s = {"late-picture": (2.0, 0.0), "late-sound": (0.0, 2.0), "joined": (0.3, 0.0)}[
        name.split(".")[0]
    ]
    path = make(tmp_path / name, [picture_s + t for t in SIX], sound_s=(sound_s, sound_s + 0.8))
    expected = starts(path)
    if name == "joined.ts":
        path.write_bytes(2 * path.read_bytes())
        # The second file's video starts where the first one's ends, and its audio starts 0.3 s earlier.
        expected["video"] += [0.6 + t for t in expected["video"]]
    found = starts(overlay(path))
    assert found["video"] == pytest.approx(expected["video"], abs=2e-3)
    assert found["audio"][0] == pytest.approx(expected["audio"][0], abs=0.03)  # the encoder delay is played as silence
    if name == "joined.ts":
        assert found["audio"][-1] == pytest.approx(0.6 + expected["audio"][-1], abs=0.03)


@pytest.mark.parametrize(("ratio", "size"), [((2, 1), (64, 48)), ((16, 15), (64, 48)), ((4, 3), (63, 47))])
@pytest.mark.parametrize("is_rotated", [False, True])
def test_an_overlay_keeps_the_shape_of_pixels(
    tmp_path: Path, ratio: tuple[int, int], size: tuple[int, int], is_rotated: bool
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        (stream.width, stream.height), stream.pix_fmt = size, "yuv444p"
        stream.codec_context.sample_aspect_ratio = Fraction(*ratio)
        for frame in moving_square(6, width=size[0], height=size[1]):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    if is_rotated:
        rotated(path, path)
    with av.open(str(overlay(path))) as drawn:
        shown = drawn.streams.video[0]
        even = tuple(side + side % 2 for side in size)
        assert (shown.width, shown.height) == (even[::-1] if is_rotated else even)
        assert shown.sample_aspect_ratio == (1 / Fraction(*ratio) if is_rotated else Fraction(*ratio))


@pytest.mark.parametrize(
    ("tags", "pixels"),
    [
        ((2, 2, 2), "yuv420p"),
        ((1, 1, 1), "yuv420p"),
        ((6, 6, 6), "yuv420p"),
        ((9, 16, 9), "yuv420p"),
        ((1, 1, 1), "yuvj420p"),
    ],
)
def test_an_overlay_keeps_colors(tmp_path: Path, tags: tuple[int, int, int], pixels: str) -> None:
    path = tmp_path / "a.mp4"
    red = np.full((480, 64, 3), (200, 40, 60), np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 480, pixels
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        for _ in range(6):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        out.mux(stream.encode(None))
    shown = []
    for place in (path, overlay(path)):
        with av.open(str(place)) as container:
            frame = next(container.decode(video=0))
        assert (frame.color_primaries, frame.color_trc, frame.colorspace) == tags
        shown.append(frame.to_ndarray(format="rgb24")[300:400].mean((0, 1)))
    assert np.abs(shown[0] - shown[1]).max() < 4
