"""Properties of a video stream: stream selection, orientation, pixel aspect ratio, frame rates and stated duration.

Time stamps and durations come from the packets (see `demuxer`). The container's header is used only for what packets
do not contain, and to detect truncated files.
"""

import itertools
import statistics
from collections.abc import Callable
from typing import Any

from av.sidedata.sidedata import Type

from svilm_jax.video.demuxer import PacketTable
from svilm_jax.video.file_structure import UNKNOWN, FileStructure
from svilm_jax.video.info import VideoError, VideoInfo

UNKNOWN_FPS = 25.0  # for a stream that does not state its rate, as in FFmpeg
MAX_FPS = 60.0  # some headers and jittering clocks suggest 1,000 and more

# Containers whose header states the duration of the complete file. For others FFmpeg computes it from the last time
# stamp, or even from the bit rate.
_STATES_DURATION = frozenset({"mp4", "matroska", "avi", "flv", "asf", "ivf", "mxf"})
# A file is truncated if its packets end earlier than stated by more than this fraction of the duration and by more than
# this number of frames: durations in headers are slightly too long.
_MISSING_FRACTION, _MISSING_FRAMES = 0.05, 3
_STILL_CODECS = frozenset({"mjpeg", "png", "bmp", "webp", "gif", "tiff"})
_EXTREME_ASPECT = 20  # of width to height of a pixel, or the reverse; a header with a larger ratio is wrong


def gather(
    container: Any,
    stream: Any,
    frame: Any,
    table: PacketTable,
    stamps: list[int],
    reached: Callable[[], float],
    structure: FileStructure,
) -> VideoInfo:
    """Collects the properties of a stream.

    Args:
      container: PyAV container, open.
      stream: the selected video stream.
      frame: the first decodable frame.
      table: time stamps and flags of the packets.
      stamps: time stamps of the table from the first frame on.
      reached: see `missing_seconds`.
      structure: see `missing_seconds`.
    """
    missing = 0.0
    if stamps:
        pictures, origin = len(stamps), stamps[0] if frame.pts is None else frame.pts
        base = float(stream.time_base)
        seconds = (table.end - origin) * base
        mean, peak = frame_rates(stamps, base)
        if not mean:
            mean = peak = float(stream.average_rate or stream.guessed_rate or 0)
        missing = missing_seconds(container, stream, table, origin, reached, structure)
    else:
        pictures = max(table.pictures, 1)
        mean = peak = elementary_rate(container, stream)
        seconds = pictures / mean
    width, height = display_size(stream, frame.width, frame.height)
    rotation, mirrored = orientation(frame)
    return VideoInfo(
        duration=seconds + missing,
        width=height if rotation % 180 else width,
        height=width if rotation % 180 else height,
        fps=mean,
        rotation=rotation,
        codec=stream.codec_context.name,
        frames=pictures,
        mirrored=mirrored,
        peak_fps=peak,
        missing=missing,
    )


def choose_stream(container: Any, name: str = "") -> Any:
    """Returns the stream that players show: the one flagged as default, else the largest; never a cover picture.

    Raises:
      VideoError: there is none; the message names the contents of the file.
    """
    covers, streams = 0, []
    for stream in container.streams.video:
        disposition = stream.disposition.name or ""
        if any(flag in disposition for flag in ("attached_pic", "timed_thumbnails", "still_image")):
            covers += 1
        else:
            streams.append(stream)
    if not streams:
        kinds = {s.type for s in container.streams if s.type != "video"}
        held = [*sorted(kinds), *(["cover art"] if covers else [])] or ["nothing"]
        raise VideoError(f"has no video stream, only {' and '.join(held)}", name)
    return max(streams, key=_rank)  # the first of equal rank


def _rank(stream: Any) -> tuple[bool, bool, bool, int]:
    context = stream.codec_context
    if context is None:
        return False, False, False, 0
    still = context.name in _STILL_CODECS and stream.frames == 1  # cover art that is not flagged
    return True, not still, "default" in (stream.disposition.name or ""), context.width * context.height


def orientation(frame: Any) -> tuple[int, bool]:
    """Returns how a stored frame is displayed: (degrees counterclockwise, whether it is mirrored left to right before).

    The display matrix maps the axes of the stored picture to those of the screen; the eight orientations that are
    multiples of 90 degrees are distinguished, and a slanted matrix is rounded to the nearest of them.
    """
    data = next((bytes(side) for side in frame.side_data if side.type == Type.DISPLAYMATRIX), b"")
    if len(data) < 20:
        return 0, False
    values = memoryview(data).cast("i")
    a, b, c, d = values[0], values[1], values[3], values[4]  # x' = a x + c y, y' = b x + d y; y points down
    if abs(a) + abs(d) >= abs(b) + abs(c):
        if not a and not d:
            return 0, False
        return (0 if d >= 0 else 180), (a < 0) != (d < 0)
    # Transposed: x' runs with y where c > 0, y' with x where b > 0. Turning by 90 counterclockwise takes the right edge
    # to the top: x' = y, y' = -x.
    return (90 if c > 0 else 270), (b > 0) == (c > 0)


def display_size(stream: Any, width: int, height: int) -> tuple[int, int]:
    """Returns (width, height) in square pixels of a stored picture: its width is scaled by the sample aspect ratio."""
    aspect = stream.sample_aspect_ratio
    if not aspect or aspect <= 0 or not 1 / _EXTREME_ASPECT <= aspect <= _EXTREME_ASPECT:
        return width, height
    return max(1, round(width * aspect)), height


def elementary_rate(container: Any, stream: Any) -> float:
    """Returns the frame rate of a stream without time stamps."""
    # MPEG-1 and MPEG-2 state their rate in every sequence header; for other streams FFmpeg's average rate is used.
    stated = stream.guessed_rate if container.format.name == "mpegvideo" else stream.average_rate
    return float(stated or stream.guessed_rate or UNKNOWN_FPS)


def frame_rates(stamps: list[int], time_base: float) -> tuple[float, float]:
    """Returns (mean, peak) frames per second of ascending stamps in ticks of `time_base` seconds; zeros if unknown.

    The peak is the rate at the smallest distance between pictures, at which no picture is dropped: a pause does not
    lower it, and rounding or jitter of less than half of the median distance does not raise it.
    """
    gaps = [b - a for a, b in itertools.pairwise(stamps) if b > a]
    if not gaps:
        return 0.0, 0.0
    mean = len(gaps) / (sum(gaps) * time_base)
    usual = statistics.median(gaps)
    fast = [gap for gap in gaps if gap < usual / 2]
    # A few outliers are errors of the clock; in a short video, each distance counts.
    reference = min(fast) if len(fast) > len(gaps) / 50 else usual
    moving = [gap for gap in gaps if gap <= 1.5 * reference]
    peak = len(moving) / (sum(moving) * time_base)
    return mean, min(max(peak, mean), max(mean, MAX_FPS))


def missing_seconds(
    container: Any,
    stream: Any,
    table: PacketTable,
    origin: int,
    reached: Callable[[], float],
    structure: FileStructure = UNKNOWN,
) -> float:
    """Returns the seconds that the container states beyond the end of the packets; 0 unless the file is truncated.

    Args:
      container: PyAV container, open.
      stream: the selected video stream.
      table: time stamps of the packets of `stream`; not empty.
      origin: time stamp of the first picture.
      reached: returns the seconds at which the last packet of any stream ends, in one pass over the file.
      structure: structure of the file, from its bytes.
    """
    stated = _stated_end(container, stream, origin)
    base = float(stream.time_base)
    if structure.truncated and structure.seconds:
        stated = max(stated, structure.seconds)
    ends, length = table.end * base, stated - origin * base
    frame = (ends - origin * base) / max(table.pictures, 1)
    # Durations in headers are slightly too long. A file known to be truncated may lack only one frame.
    tolerance = max((0.5 if structure.truncated else 2) * frame, 1e-3)
    if structure.truncated is False or stated - ends <= tolerance:
        return 0.0
    entries = stream.index_entries
    if "mp4" in container.format.name and len(entries):
        # The index is complete: a file with its last sample is complete, whatever the header says.
        return stated - ends if entries[-1].pos + entries[-1].size > container.size else 0.0
    if structure.truncated is None:
        tolerance = max(_MISSING_FRACTION * length, _MISSING_FRAMES * frame)
    if stated - ends <= tolerance:
        return 0.0
    # The stated duration is that of the longest stream, which may be sound.
    if len(container.streams) > 1 and not stream.duration and stated - reached() <= tolerance:
        return 0.0
    return stated - ends


def _stated_end(container: Any, stream: Any, origin: int) -> float:
    """Returns the end of the stream in seconds of its time stamps, as stated by the container; 0 if not stated."""
    if not _STATES_DURATION & set(container.format.name.split(",")):
        return 0.0
    start = float(origin * stream.time_base)
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        return start + float(stream.frames / stream.average_rate)
    if stream.duration:
        return start + float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1e6  # from time stamp zero in Matroska and FLV
