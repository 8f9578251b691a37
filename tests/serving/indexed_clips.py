"""A small folder of videos with a service of their index, for tests of the page."""

from pathlib import Path

from svilm_jax.inference.embedding import embed_files
from svilm_jax.inference.index import ClipIndex
from svilm_jax.serving.service import Service
from tests.tiny import tiny_model
from tests.video.encoded_videos import encode, numbered_frames

MAX_UPLOAD_BYTES = 1 << 20
STRANGE_NAME = "<b>old & strange.avi"


def write_clips(folder: Path) -> Path:
    """Writes four videos, the last of which browsers do not play, and a fifth next to their folder."""
    clips = folder / "clips"
    clips.mkdir()
    for i in range(3):
        (clips / f"{i}.mp4").write_bytes(encode(numbered_frames(12 + 4 * i)))
    (clips / STRANGE_NAME).write_bytes(encode(numbered_frames(9), container="avi", codec="mpeg4"))
    (folder / "secret.mp4").write_bytes(encode(numbered_frames(9)))
    return clips


def make_service(clips: Path, folder: Path) -> Service:
    """Returns a service of a tiny model and an index of the clips."""
    model, served = tiny_model(), folder / "served"
    served.mkdir()
    embed_files(model, "runs/tiny", [clips], folder / "features.parquet")
    return Service(model, ClipIndex.read(folder / "features.parquet"), served, MAX_UPLOAD_BYTES)
