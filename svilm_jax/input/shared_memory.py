"""Upper bound on the shared memory (/dev/shm) used by decoding processes, checked before the first one starts.

A batch stays in shared memory from the moment a worker finishes it until training releases it. Exhaustion does not
raise an error at allocation: the kernel kills a worker that writes to a page that is not available.
"""

import shutil
from pathlib import Path

from svilm_jax.config import ConfigError, VideoConfig

FOLDER = Path("/dev/shm")
_WITH_TRAINING = 2  # the batch in transfer to the device, and the previous one being released


def shared_bytes(video: VideoConfig, rows: int, workers: int, prefetch: int) -> int:
    """Returns an upper bound on the memory of the clips of all batches; texts and masks add less than one percent.

    Args:
      video: number of frames and size of a clip.
      rows: rows per batch of this process.
      workers: `config.input.workers`, the number of decoding processes.
      prefetch: `config.input.prefetch`. Grain has two queues of `prefetch` entries per worker, one between
        the processes and one after them, and one more batch waits before each.
    """
    clip = video.num_frames * video.image_size * video.image_size * 3  # uint8
    return (workers * 2 * (prefetch + 1) + _WITH_TRAINING) * rows * clip


def check_shared_memory(
    video: VideoConfig, rows: int, workers: int, prefetch: int, processes: int = 1, folder: Path = FOLDER
) -> None:
    """Rejects settings that would not fit; if there is no such folder, nothing is checked.

    Args:
      video: number of frames and size of a clip.
      rows: rows per batch of this process.
      workers: number of decoding processes.
      prefetch: `config.input.prefetch`.
      processes: number of processes of the run that share the folder and have not read anything yet.
      folder: file system of the shared memory.

    Raises:
      ConfigError: naming the keys and the two sizes.
    """
    if not workers or not folder.is_dir():
        return
    needed, free = processes * shared_bytes(video, rows, workers, prefetch), shutil.disk_usage(folder).free
    of = f" in each of {processes} processes" if processes > 1 else ""
    if needed > free:
        raise ConfigError(
            f"config.input.workers={workers} with config.input.prefetch={prefetch}: batches of {rows} clips{of} take "
            f"up to {needed / 2**30:.2f} GiB of {folder}, and {free / 2**30:.2f} GiB of it are free: lower either, or "
            "give it more room (docker run --shm-size=...)"
        )
