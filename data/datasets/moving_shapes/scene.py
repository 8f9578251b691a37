"""Random scenes of moving shapes, independent or look-alikes of each other."""

import dataclasses
import hashlib
import itertools
import math

import numpy as np

SHAPES = ("square", "circle", "triangle", "ring", "star", "cross")
COLORS = {
    "red": (214, 40, 40),
    "green": (46, 160, 67),
    "blue": (38, 84, 214),
    "yellow": (240, 208, 40),
    "purple": (138, 43, 190),
    "orange": (240, 128, 24),
    "cyan": (40, 200, 210),
    "pink": (250, 150, 190),
    "white": (240, 240, 240),
    "black": (24, 24, 24),
}
RADII = {"small": 0.165, "large": 0.265}  # fractions of the canvas; shapes of one size have the same area
MOTIONS = ("left", "right", "up", "down", "spin", "bounce", "appear", "grow", "rest")
TEXTURES = ("striped", "checkered", "dotted", "plain", "wavy", "grainy")
_EIGHTHS = tuple(i / 7 for i in range(8))  # times at which the distances between objects are tested
_HOPS = tuple(abs(math.sin(2 * math.pi * time)) for time in _EIGHTHS)
ROUND = ("circle", "ring")  # a round shape that spins looks like one that rests

ATTEMPTS = 20_000  # draws per scene; the rarest scenes that exist take some thousands

# Tenths of all (objects, motions, texture) combinations that each kind of split draws from; disjoint.
BUCKETS = {"train": range(8), "validation": range(8, 9), "test": range(9, 10)}


@dataclasses.dataclass(frozen=True)
class Background:
    """A textured plane; `seed` determines phase, scale, angle and tint."""

    texture: str
    seed: int


@dataclasses.dataclass(frozen=True)
class ShapeInstance:
    """One object. `start` and `end` are centers (x, y) in canvas units; motions other than slides stay at `start`.

    `tone` determines the exact shade of the color, `seed` the rest: tilt, direction of a spin.
    """

    shape: str
    color: str
    size: str
    motion: str
    start: tuple[float, float]
    end: tuple[float, float]
    tone: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Scene:
    """Objects in drawing order (later ones in front) over a background."""

    background: Background
    objects: tuple[ShapeInstance, ...]

    @property
    def key(self) -> str:
        """The combination that no two splits share: the set of objects with their motions, and the texture."""
        objects = sorted(f"{t.shape} {t.color} {t.size} {t.motion}" for t in self.objects)
        return "|".join([self.background.texture, *objects])

    @property
    def bucket(self) -> int:
        """0 to 9, a function of the key."""
        return hashlib.sha256(self.key.encode()).digest()[0] * 10 // 256


@dataclasses.dataclass(frozen=True)
class Appearance:
    """Common properties of look-alikes: the background and, object by object, the colors and their shades."""

    background: Background
    colors: tuple[str, ...]
    tones: tuple[int, ...]


class SceneNotFound(LookupError):
    """No scene satisfying the constraints was found; draw again with others."""


def draw_appearance(rng: np.random.Generator, count: int | None = None) -> Appearance:
    """Draws an appearance with one to three objects, mostly two; a color may occur twice."""
    if count is None:
        count = int(rng.choice([1, 2, 3], p=[0.15, 0.65, 0.2]))
    background = Background(str(rng.choice(TEXTURES)), int(rng.integers(1 << 30)))
    colors = rng.choice(list(COLORS), size=count, replace=rng.random() < 0.15)
    tones = rng.integers(1 << 30, size=count)
    return Appearance(background, tuple(str(c) for c in colors), tuple(int(t) for t in tones))


def draw_scene(
    rng: np.random.Generator, appearance: Appearance, kind: str, unlike: Scene | None = None, same_shapes: bool = False
) -> Scene:
    """Draws a scene of an appearance, from the combinations that belong to `kind` (train, validation or test).

    Args:
      rng: random stream.
      appearance: background and colors.
      kind: train, validation or test.
      unlike: every object differs from this scene's in shape and in motion, and has its size and, as far as the motions
        allow, its position (twins): neither an average color nor a position distinguishes them.
      same_shapes: every object has the shape of `unlike`'s instead, so that only the motions distinguish them.

    Raises:
      SceneNotFound: none was found. A single object of one color and size has so few twins that occasionally none
        belongs to `kind`.
    """
    for attempt in range(ATTEMPTS):
        others = unlike.objects if unlike else (None,) * len(appearance.colors)
        objects = [
            _draw_object(rng, color, tone, other, anchored=attempt < 100, same_shape=same_shapes)
            for color, tone, other in zip(appearance.colors, appearance.tones, others, strict=True)
        ]
        if len({(t.shape, t.color) for t in objects}) < len(objects):
            continue
        scene = Scene(appearance.background, tuple(objects))
        # In this order: checking a key is cheaper than placing the objects, and most keys belong to other splits.
        if scene.bucket in BUCKETS[kind] and _apart(objects):
            return scene
    raise SceneNotFound


def _draw_object(
    rng: np.random.Generator, color: str, tone: int, other: ShapeInstance | None, anchored: bool, same_shape: bool
) -> ShapeInstance:
    while True:
        shape, motion = SHAPES[rng.integers(len(SHAPES))], MOTIONS[rng.integers(len(MOTIONS))]
        if motion == "spin" and shape in ROUND:
            continue
        if other is None or ((shape == other.shape) == same_shape and motion != other.motion):
            break
    size = other.size if other else ("small" if rng.random() < 0.45 else "large")
    margin = RADII[size] + 0.02
    x, y = rng.uniform(margin, 1 - margin, size=2)
    if other and anchored:
        x, y = (np.array(other.start) + np.array(other.end)) / 2
    end_x, end_y = x, y
    low, high = margin + rng.uniform(0, 0.06), 1 - margin - rng.uniform(0, 0.06)
    if motion in ("left", "right"):
        x, end_x = (high, low) if motion == "left" else (low, high)
    elif motion in ("up", "down"):
        y, end_y = (high, low) if motion == "up" else (low, high)
    elif motion == "bounce":
        y = min(y + 0.2, 1 - margin) if other and anchored else 1 - margin
        end_y = max(margin, y - rng.uniform(0.3, 0.45))
    start, end = (float(x), float(y)), (float(end_x), float(end_y))
    return ShapeInstance(shape, color, size, motion, start, end, tone, int(rng.integers(1 << 30)))


def centers(item: ShapeInstance, progress: np.ndarray) -> np.ndarray:
    """Returns the center of an object at `progress` in [0, 1] through the clip: [F, 2]."""
    start, end = np.array(item.start), np.array(item.end)
    # A bounce is two hops: |sin| from the ground (start) to the top (end) and back.
    fraction = np.abs(np.sin(2 * np.pi * progress)) if item.motion == "bounce" else progress
    return start + fraction[:, None] * (end - start)


def _apart(objects: list[ShapeInstance]) -> bool:
    """Returns whether each object is mostly visible most of the time; objects may cross."""
    for one, two in itertools.combinations(objects, 2):
        # Plain floats: arrays of so few numbers would take ten times as long, and most candidate scenes end here.
        distances = [math.dist(*places) for places in zip(_places(one), _places(two), strict=True)]
        reach = RADII[one.size] + RADII[two.size]
        if sum(distances) < reach * len(distances) or min(distances) < 0.45 * reach:
            return False
    return True


def _places(item: ShapeInstance) -> list[tuple[float, float]]:
    """Returns the centers at eight times, including the first and the last, as `centers` does."""
    (x, y), (end_x, end_y) = item.start, item.end
    fractions = _HOPS if item.motion == "bounce" else _EIGHTHS
    return [(x + f * (end_x - x), y + f * (end_y - y)) for f in fractions]
