"""Test videos of many codecs, structures and containers for random access, made by PyAV.

Every film is made in memory from the same moving pattern. What it is meant to show (times, orientation, pixel shape) is
kept beside it, so that a test need not ask the code under test.
"""

import dataclasses
import fractions
import io
from collections.abc import Callable
from typing import Any

import av
import numpy as np

FRAMES, HEIGHT, WIDTH, FPS = 64, 48, 64, 25
TICKS = 1000  # a second, of the frames before they are encoded

STEADY = tuple(i / FPS for i in range(FRAMES))
# A pause in the middle, pairs of frames, and a slow end.
UNSTEADY = tuple(
    round(t + (1.4 if i > 30 else 0) + (0.02 if i % 2 else 0) + 0.1 * max(i - 58, 0), 3) for i, t in enumerate(STEADY)
)

# Display matrices as (a, b, c, d) and what they make of a stored picture.
MATRICES: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "identity": ((1, 0, 0, 1), lambda x: x),
    "mirrored": ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    "upside_down": ((1, 0, 0, -1), lambda x: x[::-1]),
    "half_turn": ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
    "clockwise": ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    "counterclockwise": ((0, -1, 1, 0), np.rot90),
    "transposed": ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2)),
    "antitransposed": ((0, -1, -1, 0), lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
}


@dataclasses.dataclass(frozen=True)
class Film:
    """A file and what it shows.

    Attributes:
      name: of the film.
      video: its bytes.
      orient: from a stored picture to the one displayed.
      aspect: width to height of a pixel.
      times: seconds at which frames appear, where the stamps of the file do not say so; else None.
    """

    name: str
    video: bytes
    orient: Callable[[np.ndarray], np.ndarray] = MATRICES["identity"][1]
    aspect: fractions.Fraction = fractions.Fraction(1)
    times: tuple[float, ...] | None = None

    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """(images uint8 [T, h, w, 3], seconds [T]) by plain decoding with FFmpeg from the start."""
        images, stamps = [], []
        with av.open(io.BytesIO(self.video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue  # the last packet of a file cut short
                for frame in frames:
                    width = round(frame.width * self.aspect)
                    picture = frame.reformat(width, frame.height, "rgb24", interpolation="BILINEAR")
                    images.append(self.orient(picture.to_ndarray()))
                    stamps.append(frame.pts)
            if self.name.startswith("cut"):  # what FFmpeg makes of half a packet is not the same every time
                del images[-1], stamps[-1]
            if self.times is not None:
                return np.stack(images), np.array(self.times[: len(images)])
            if "avi" in self.name:  # states when pictures are decoded: the same times in another order
                stamps.sort()
            return np.stack(images), (np.array(stamps) - stamps[0]) * float(stream.time_base)


def pattern(frames: int = FRAMES, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """uint8 [frames, height, width, 3]: waves that move, a square that runs, a scene cut; no two frames are alike."""
    t, y, x = np.mgrid[:frames, :height, :width]
    wave = 128 + 60 * np.sin(x / 5 + t / 3) + 50 * np.cos(y / 4 - t / 5)
    images = np.stack([wave, 255 - wave, (wave + 3 * t) % 255], -1).clip(0, 255).astype(np.uint8)
    for i in range(frames):
        left = 3 * i % (width - 12)
        images[i, 6:18, left : left + 12] = (250, 240, 4 * i % 256)
    images[40:] = images[40:, :, ::-1]
    return images


def make(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    flags: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    bframes: int | None = None,
    times: tuple[float, ...] = STEADY,
    matrix: str = "identity",
    aspect: fractions.Fraction = fractions.Fraction(1),
    images: np.ndarray | None = None,
) -> bytes:
    """The pattern as a file; `options` are the encoder's, `flags` the container's."""
    images = pattern() if images is None else images
    buffer = io.BytesIO()
    steady = times == STEADY
    # MP4 gets its index in front where it can be read back, which memory cannot: room is reserved instead.
    flags = {"moov_size": "20000"} if container == "mp4" and not flags else flags or {}
    with av.open(buffer, "w", format=container, options=flags) as out:
        stream: Any = out.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt, stream.thread_count = pix_fmt, 1
        context = stream.codec_context
        context.gop_size = gop
        if bframes is not None:
            context.max_b_frames = bframes
        if aspect != 1:
            context.sample_aspect_ratio = aspect
        if matrix != "identity":
            a, b, c, d = (v << 16 for v in MATRICES[matrix][0])
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if not steady:
            context.time_base = fractions.Fraction(1, TICKS)
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            if not steady:
                frame.pts, frame.time_base = round(times[i] * TICKS), fractions.Fraction(1, TICKS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def starting_inside(video: bytes, container: str, packets: int, flags: dict[str, str] | None = None) -> bytes:
    """The packets of a video from number `packets` on, copied to another file."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(video)) as source, av.open(buffer, "w", format=container, options=flags or {}) as out:
        stream = source.streams.video[0]
        copied = out.add_stream_from_template(stream)
        start = None
        for i, packet in enumerate(source.demux(stream)):
            if i < packets or packet.dts is None:
                continue
            start = packet.dts if start is None else start
            packet.pts, packet.dts = packet.pts - start, packet.dts - start
            packet.stream = copied
            out.mux(packet)
    return buffer.getvalue()


X264 = {
    "closed": {"preset": "fast", "x264-params": "bframes=3:b-pyramid=normal:scenecut=0"},
    "open": {"preset": "fast", "x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=4"},
    "refresh": {"preset": "fast", "x264-params": "intra-refresh=1:keyint=16:bframes=0"},
    "refresh_b": {"preset": "fast", "x264-params": "intra-refresh=1:keyint=20:bframes=2:ref=4"},
    "interlaced": {"preset": "fast", "x264-params": "interlaced=1:bframes=2:keyint=12"},
    "no_b": {"preset": "fast", "tune": "zerolatency"},
    "scenecut": {"preset": "medium", "x264-params": "keyint=250:bframes=5:b-adapt=2:ref=6"},
}
X265 = {
    "open": {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=1:keyint=12:min-keyint=12:bframes=3"},
    "closed": {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=0:keyint=12:bframes=3"},
    "radl": {"preset": "ultrafast", "x265-params": "log-level=none:open-gop=0:radl=2:keyint=12:bframes=3"},
    "refresh": {"preset": "ultrafast", "x265-params": "log-level=none:intra-refresh=1:keyint=16:bframes=0"},
}
OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("matroska", "mpeg4", {"bframes": 2}),
    ("mp4", "mpeg4", {"bframes": 2}),
    ("avi", "mpeg4", {"bframes": 2}),
    ("avi", "mpeg4", {"bframes": 0}),
    ("mpegts", "mpeg2video", {"bframes": 2}),
    ("mpeg", "mpeg2video", {"bframes": 2}),
    ("mpeg", "mpeg1video", {"bframes": 2}),
    ("mp4", "mpeg2video", {"options": {"flags": "+cgop", "sc_threshold": "1000000000"}, "bframes": 2}),
    ("avi", "msmpeg4", {}),
    ("asf", "wmv2", {}),
    ("flv", "flv", {}),
    ("webm", "libvpx", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "b": "200k"}}),
    ("ivf", "libvpx", {"options": {"cpu-used": "8"}}),
    ("webm", "libvpx-vp9", {"options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "b": "200k"}}),
    ("mp4", "libsvtav1", {"options": {"preset": "12", "svtav1-params": "lp=1"}}),
    ("mov", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ("mov", "prores", {"pix_fmt": "yuv422p10le"}),
    ("matroska", "ffv1", {}),
    ("avi", "huffyuv", {"pix_fmt": "yuv422p"}),
    ("gif", "gif", {"pix_fmt": "rgb8"}),
    ("nut", "libx264", {"options": X264["closed"]}),
    ("mxf", "mpeg2video", {"pix_fmt": "yuv422p", "bframes": 2}),
]


def films(*, full: bool) -> dict[str, Callable[[], Film]]:
    """Makers of the films by name; without `full`, a selection with one of each kind."""
    made: dict[str, Callable[[], Film]] = {}

    def add(name: str, video: Callable[[], bytes], **facts: Any) -> None:
        made[name] = lambda: Film(name, video(), **facts)

    def film(name: str, *args: Any, **options: Any) -> None:
        orient = MATRICES[options.get("matrix", "identity")][1]
        aspect = options.get("aspect", fractions.Fraction(1))
        add(name, lambda: make(*args, **options), orient=orient, aspect=aspect)

    closed, open_gop, refresh = ({"options": X264[name]} for name in ("closed", "open", "refresh"))
    for structure, options in X264.items():
        for container in ("mp4", "mov", "matroska", "mpegts", "flv", "avi") if full else ("mp4", "mpegts"):
            film(f"h264 {structure} {container}", container, options=options)
    for structure, options in X265.items():
        for container in ("mp4", "matroska", "mpegts") if full else ("matroska",):
            film(f"hevc {structure} {container}", container, "libx265", options=options)
    for number, (container, codec, extra) in enumerate(OTHERS if full else OTHERS[::2]):
        film(f"{codec} {container} {number}", container, codec, **extra)
    for container in ("mp4", "matroska", "mpegts", "webm") if full else ("mp4", "matroska"):
        codec, extra = ("libvpx", {}) if container == "webm" else ("libx264", closed)
        film(f"unsteady {container}", container, codec, times=UNSTEADY, **extra)
        film(f"offset {container}", container, codec, flags={"output_ts_offset": "7.5"}, **extra)
    for name, extra in (("open", open_gop), ("refresh", refresh)):
        film(f"fragmented {name}", "mp4", flags={"movflags": "frag_keyframe+empty_moov+default_base_moof"}, **extra)
    for matrix in MATRICES:
        film(f"matrix {matrix}", "mp4", matrix=matrix, **closed)
    for aspect in (fractions.Fraction(2), fractions.Fraction(16, 15), fractions.Fraction(1, 2)):
        film(f"aspect {aspect}", "mp4" if aspect > 1 else "matroska", aspect=aspect, **open_gop)
    add("elementary h264", lambda: make("h264", **closed), times=STEADY)
    add("elementary hevc", lambda: make("hevc", "libx265", options=X265["open"]), times=STEADY)
    add("elementary mpeg2", lambda: make("mpeg2video", "mpeg2video", bframes=2), times=STEADY)
    for name, extra in (("closed", closed), ("open", open_gop), ("refresh", refresh)):
        for container in ("mp4", "matroska"):
            add(
                f"starts inside, {name} {container}",
                lambda e=extra, c=container: starting_inside(make("matroska", **e), c, 7),
            )
        add(f"starts inside, {name} mpegts", lambda e=extra: make("mpegts", **e)[188 * 40 :])
    for container, codec, extra in (
        ("matroska", "libx264", open_gop),
        ("mpegts", "libx264", refresh),
        ("mpegts", "mpeg2video", {}),
        ("mp4", "libx264", closed),
        ("flv", "libx264", closed),
        ("avi", "mpeg4", {}),
    ):
        add(f"cut short, {codec} {container}", lambda *, a=(container, codec), e=extra: cut(make(*a, **e)))
    parts = tuple(t + part * FRAMES / FPS for part in (0, 1) for t in STEADY)
    add("concatenated mpegts", lambda: 2 * make("mpegts", **closed), times=parts)
    add("concatenated mpegts refresh", lambda: 2 * make("mpegts", **refresh), times=parts)
    add("concatenated webm", lambda: 2 * make("webm", "libvpx"), times=parts)
    return made


def cut(video: bytes) -> bytes:
    """The first seven tenths of a file."""
    return video[: len(video) * 7 // 10]
