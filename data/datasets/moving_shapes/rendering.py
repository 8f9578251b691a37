"""Renderer of scenes: antialiased signed distance functions, for all frames of a clip at once."""

import colorsys

import numpy as np
from svilm_data.datasets.moving_shapes.scene import COLORS, RADII, Background, Scene, ShapeInstance, centers

CANVAS = 64  # pixels, both sides; even, as H.264's subsampled chroma requires
MEAN_AREA = 2.4  # area of every shape, in squared radii of its size
# Mean hue and saturation of each texture's muted tones.
TINTS = {
    "striped": (0.07, 0.35),
    "checkered": (0.0, 0.04),
    "dotted": (0.6, 0.3),
    "plain": (0.14, 0.3),
    "wavy": (0.42, 0.3),
    "grainy": (0.83, 0.25),
}
EDGE = 1.2 / CANVAS  # width of the antialiased rim

_axis = (np.arange(CANVAS, dtype=np.float32) + 0.5) / CANVAS
_Y, _X = np.meshgrid(_axis, _axis, indexing="ij")  # [h, w] each


def render(scene: Scene, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws a scene.

    Returns:
      images uint8 [F, 64, 64, 3] and masks uint8 [F, 64, 64]: k where object k (from 1) is in front, 0 background.
    """
    progress = np.linspace(0, 1, frames, dtype=np.float32)
    images = np.repeat(draw_background(scene.background)[None], frames, axis=0)  # [F, h, w, 3]
    masks = np.zeros((frames, CANVAS, CANVAS), np.uint8)
    for number, item in enumerate(scene.objects, start=1):
        corners, distance = _distance(item, progress)  # [F, 2], [F, S, S]
        alpha = np.clip(0.5 - distance / EDGE, 0, 1)[..., None]
        rng = np.random.default_rng(item.tone)
        color = np.clip(np.array(COLORS[item.color]) + rng.uniform(-14, 14, 3), 0, 255).astype(np.float32)
        rim = np.clip(1 + distance / (2.5 * EDGE), 0, 1)[
            ..., None
        ]  # a darker outline sets it off from a similar background
        paint = color * (1 - 0.45 * rim)  # [F, S, S, 3]
        for frame, (top, left) in enumerate(corners):
            inside, patch = _overlap(top, left, distance.shape[1])
            region = images[frame][inside]
            region += alpha[frame][patch] * (paint[frame][patch] - region)
            masks[frame][inside][distance[frame][patch] < 0] = number
    return np.clip(images, 0, 255).astype(np.uint8), masks


def flicker(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Simulates a camera's unsteady exposure and white balance: scales each channel of each frame by about 1 ± 0.06.

    Without it the average color of a scene is constant to a thousandth over its frames, and reveals every cut.
    """
    gains = 1 + 0.04 * rng.standard_normal((len(images), 1, 1, 1)) + 0.045 * rng.standard_normal((len(images), 1, 1, 3))
    return np.clip(images * gains.astype(np.float32), 0, 255).astype(np.uint8)


def _overlap(top: int, left: int, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Returns the location of a patch on the canvas, and the part of the patch that is on it."""
    rows = slice(max(top, 0), min(top + size, CANVAS))
    columns = slice(max(left, 0), min(left + size, CANVAS))
    return (rows, columns), (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )


def draw_background(background: Background) -> np.ndarray:
    """Draws float32 [h, w, 3] in 0 to 255: two muted tones in the pattern of the texture."""
    rng = np.random.default_rng(background.seed)
    hue, saturation = TINTS[background.texture]
    hue, saturation = (hue + rng.uniform(-0.05, 0.05)) % 1, saturation * rng.uniform(0.7, 1.3)
    value = rng.uniform(0.38, 0.58)
    light = np.array(colorsys.hsv_to_rgb(hue, saturation, value + 0.18), np.float32) * 255
    dark = np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255
    angle, scale = rng.uniform(0, np.pi), rng.uniform(5, 8)
    phase_u, phase_v = rng.uniform(0, 2 * np.pi, 2)
    u = (np.cos(angle) * _X + np.sin(angle) * _Y) * scale * 2 * np.pi + phase_u
    v = (-np.sin(angle) * _X + np.cos(angle) * _Y) * scale * 2 * np.pi + phase_v
    pattern = {
        "striped": lambda: np.clip(3 * np.sin(u), -1, 1),
        "checkered": lambda: np.clip(4 * np.sin(u / 1.5) * np.sin(v / 1.5), -1, 1),
        "dotted": lambda: np.clip(5 * (np.cos(u) + np.cos(v) - 1.1), -1, 1),
        "plain": lambda: 0.3 * np.sin(u / 12),
        "wavy": lambda: np.clip(3 * np.sin(u + 1.6 * np.sin(v / 2)), -1, 1),
        "grainy": lambda: rng.normal(0, 0.6, (CANVAS, CANVAS)).clip(-1, 1),
    }[background.texture]()
    mix = ((pattern + 1) / 2)[..., None].astype(np.float32)
    return dark + mix * (light - dark)


def _distance(item: ShapeInstance, progress: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the signed distance to the outline on a square patch that follows the object.

    Returns:
      int [F, 2] top and left of the patch in pixels (it may extend beyond the canvas), float32 [F, S, S] in canvas
      units.
    """
    rng = np.random.default_rng(item.seed + 1)
    radius = np.full_like(progress, RADII[item.size] * np.sqrt(MEAN_AREA / _AREAS[item.shape]))
    size = int(np.ceil(radius[0] * 1.3 * 2 * CANVAS)) + 2
    if item.motion == "grow":
        radius = radius * (0.35 + 0.65 * progress)
    angle = np.full_like(progress, rng.uniform(-0.2, 0.2))
    if item.motion == "spin":
        angle = angle + np.float32((1 if rng.random() < 0.5 else -1) * 1.5 * np.pi) * progress
    center = centers(item, progress).astype(np.float32)  # [F, 2], x and y
    corners = np.floor(center[:, ::-1] * CANVAS - size / 2).astype(int)  # [F, 2], row and column
    steps = np.arange(size, dtype=np.float32) + 0.5
    dy = ((corners[:, :1] + steps) / CANVAS - center[:, 1:]).astype(np.float32)[:, :, None]  # [F, S, 1]
    dx = ((corners[:, 1:] + steps) / CANVAS - center[:, :1]).astype(np.float32)[:, None, :]  # [F, 1, S]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    distance = _SHAPES[item.shape](cos * dx + sin * dy, -sin * dx + cos * dy, radius[:, None, None])
    if item.motion == "appear":
        distance = np.where((progress < 0.4)[:, None, None], np.float32(1), distance)
    return corners, distance


def _square(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.88 * r


def _circle(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y) - r


def _triangle(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    y = y - 0.12 * r
    return np.maximum(np.abs(x) * 0.866 - y * 0.5, y) - 0.58 * r


def _ring(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(x * x + y * y) - 0.67 * r) - 0.36 * r


def _star(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    turn = np.arctan2(x, -y)
    fold = np.abs((turn / (2 * np.pi / 5) + 0.5) % 1 - 0.5) * 2  # 0 at a tip, 1 between two
    return np.sqrt(x * x + y * y) - r * (1.15 - 0.62 * fold)


def _cross(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.34 * r, y - 1.02 * r), np.maximum(y - 0.34 * r, x - 1.02 * r))


_SHAPES = {
    "square": _square,
    "circle": _circle,
    "triangle": _triangle,
    "ring": _ring,
    "star": _star,
    "cross": _cross,
}

# Areas of the outlines above at radius 1, by which `_distance` equalizes them.
_AREAS = {
    "square": (2 * 0.88) ** 2,
    "circle": np.pi,
    "triangle": 3 * np.sqrt(3) * 0.58**2,
    "ring": np.pi * (1.03**2 - 0.31**2),
    "star": np.pi * (1.15**2 - 1.15 * 0.62 + 0.62**2 / 3),
    "cross": 4 * 0.34 * 1.02 * 2 - (2 * 0.34) ** 2,
}
