"""Synthetic dataset of colored squares, and a model that reads colors, for which every metric's value is known.

`ColorReader` has the interface of the real model and no training: one group per color, affinity by distance in RGB,
sentences represented by the colors that they name. Its expected scores follow from what is drawn.
"""

import io
import json

import av
import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds
from flax import nnx

from svilm_jax.config import Config, GroupingConfig, InputConfig, ModelConfig, TextConfig, VideoConfig
from svilm_jax.input import schema
from svilm_jax.models.outputs import VideoOutputs

PALETTE = {
    "red": (220, 30, 30),
    "green": (30, 200, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 30),
    "": (128, 128, 128),
}
SIZE, FRAMES, FPS, TUBELET = 32, 16, 8, (2, 8, 8)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "and", "video", "of", "square", "spins", "left", "right", "rests"]


def encode(frames):
    """uint8 [F, H, W, 3] -> bytes of an mp4 file."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return buffer.getvalue()


def draw(*squares, frames=FRAMES):
    """Squares (color, top, left) of 16 pixels on gray -> (uint8 [F, 32, 32, 3], masks uint8 [F, 32, 32])."""
    video = np.full((frames, SIZE, SIZE, 3), PALETTE[""], np.uint8)
    masks = np.zeros((frames, SIZE, SIZE), np.uint8)
    for i, (color, top, left) in enumerate(squares):
        video[:, top : top + 16, left : left + 16] = PALETTE[color]
        masks[:, top : top + 16, left : left + 16] = i + 1
    return video, masks


def record(name, *squares, caption="", group="", broken=False):
    video, masks = draw(*squares)
    phrases = [f"a {color} square" for color, _, _ in squares]
    return schema.Record(
        id=name,
        video=b"no video" if broken else encode(video),
        captions=(schema.Caption(caption or " and ".join(phrases), tuple(phrases)),),
        group=group,
        objects=tuple(schema.SceneObject(phrase, i + 1) for i, phrase in enumerate(phrases)),
        masks=masks,
    )


def untrimmed(name, *scenes, cuts):
    video = np.concatenate([draw((color, 0, 0), (color, 16, 16), frames=frames)[0] for color, frames in scenes])
    return schema.Record(id=name, video=encode(video), cuts=cuts)


def splits():
    long = [("red", 12), ("blue", 8), ("green", 16), ("red", 12)]
    cuts = (1.5, 2.5, 4.5)
    return {
        "test": [
            record("rg", ("red", 0, 0), ("green", 16, 16)),
            record("bro", ("red", 0, 0), ("blue", 16, 16), broken=True),
            record("by", ("blue", 0, 16), ("yellow", 16, 0)),
            record("gb", ("green", 0, 0), ("blue", 0, 16)),
            record("y", ("yellow", 0, 0)),
        ],
        "hard_test": [
            record("h0", ("red", 0, 0), caption="a red square spins", group="0"),
            record("h1", ("red", 0, 0), caption="a red square rests", group="0"),
            record("h2", ("red", 0, 0), caption="a red square spins left", group="1"),
            record("h3", ("blue", 0, 0), caption="a blue square spins", group="1"),
            record("h4", ("blue", 0, 0), caption="a blue square spins left", group="alone"),
        ],
        "twins_test": [
            record("t0", ("red", 0, 0), ("green", 16, 16), group="0"),
            record("t1", ("red", 0, 0), ("blue", 16, 16), group="0"),
            record("t2", ("red", 0, 0), group="1"),
            record("t3", ("red", 0, 0), group="1", broken=True),
            record("t4", ("yellow", 0, 0), group="2"),
            record("t5", ("blue", 0, 0), group="2"),
        ],
        "untrimmed_train": [untrimmed("u0", *long, cuts=cuts)],
        "untrimmed_test": [untrimmed("u1", *reversed(long), cuts=(1.5, 3.5, 4.5))],
        "plain": [schema.Record(id=f"p{i}", video=encode(draw(("red", 0, 0))[0])) for i in range(2)],
    }


def write_dataset(folder, records=None, **lists):
    """The splits, or other records by split, as TFDS writes them; returns the folder that `open_records` takes.

    `lists` go into files of these names beside them, as preparation does with labels and answers.
    """
    _Builder(data_dir=folder, records=splits() if records is None else records).download_and_prepare()
    for name, rows in lists.items():
        (folder / "colored_squares" / f"{name}.json").write_text(json.dumps(rows))
    return folder / "colored_squares"


class _Builder(tfds.core.GeneratorBasedBuilder):
    name = "colored_squares"
    VERSION = tfds.core.Version(schema.SCHEMA_VERSION)

    def __init__(self, *, records, **kwargs):
        self._records = records
        super().__init__(file_format="array_record", **kwargs)

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=schema.features(), disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self._records}

    def _generate_examples(self, split):
        for i, item in enumerate(self._records[split]):
            yield i, schema.to_example(item)


def make_config(dataset, **evaluators):
    return Config(
        model=ModelConfig(
            video=VideoConfig(num_frames=FRAMES, image_size=SIZE, tubelet_size=TUBELET),
            grouping=GroupingConfig(num_groups=len(PALETTE)),
            text=TextConfig(max_length=12),
            embed_dim=len(PALETTE),
        ),
        input=InputConfig(dataset=str(dataset)),
        evaluators=evaluators,
    )


def write_vocabulary(path):
    path.write_text("\n".join([*WORDS, *(color for color in PALETTE if color)]) + "\n")
    return path


class ColorReader(nnx.Module):
    """Reads colors, and nothing else."""

    def __init__(self):
        self.palette = nnx.Param(jnp.asarray(list(PALETTE.values()), jnp.float32) / 255)

    def encode_video(self, video, *, train=False, rng=None):
        t, p, q = TUBELET
        b, frames, height, width, _ = video.shape
        patches = video.astype(jnp.float32).reshape(b, frames // t, t, height // p, p, width // q, q, 3) / 255
        patches = patches.mean(axis=(2, 4, 6))  # [B, Nt, h, w, 3]
        distance = jnp.sum((patches[..., None, :] - self.palette[...]) ** 2, -1)  # [B, Nt, h, w, M]
        logits = jnp.moveaxis(-20 * distance, -1, 1)  # [B, M, Nt, h, w]
        assignment = jax.nn.softmax(logits, axis=1)
        tokens = jnp.moveaxis(assignment, 1, -1).reshape(b, frames // t, -1, len(PALETTE))
        seen = tokens.mean(axis=(1, 2)).at[:, -1].set(0) + 1e-6  # [B, M], gray says nothing
        groups = jnp.broadcast_to(jnp.eye(len(PALETTE)), (b, len(PALETTE), len(PALETTE)))
        return VideoOutputs(
            tokens=tokens,
            group_tokens=groups,
            logits=(logits,),
            assignments=(assignment,),
            embedding=seen / jnp.linalg.norm(seen, axis=-1, keepdims=True),
            group_embedding=groups,
        )

    def encode_text(self, tokens, mask):
        # Padding reads as gray, so that a mask that lets it through shows.
        index = jnp.where(tokens == 0, len(PALETTE) - 1, tokens - len(WORDS))
        colors = jax.nn.one_hot(index, len(PALETTE)) * mask[..., None]  # [N, L, M]
        said = colors.sum(axis=1) + 1e-6
        return said / jnp.linalg.norm(said, axis=-1, keepdims=True)
