"""Pointing game: whether the maximum of a phrase's heat map lies on the object that the phrase names.

One point is taken per (clip, temporal index, phrase): the center of mass of the patch with the largest heat-map value
and its eight neighbors. Patches are as large as small objects, and an object that covers parts of four patches need not
contain the center of any of them. The point is tested on the middle frame of the tubelet, `t·j + t//2`: a single frame
and mask, so no rule is needed for tubelets in which the object moves off the point. A temporal index counts for an
object only if the object is visible in that frame.
Where several patches share the maximum, all of their points must lie on the object, so that a flat map does not score
by chance.
"""

import dataclasses

import numpy as np

from svilm_jax.evaluation.metric import Metric, Unit


@dataclasses.dataclass
class PointingGame:
    """Counts of the game over clips; call `add` for every clip, then read `metrics`.

    Attributes:
      points: (clip, time, phrase) triples played.
      hits: points on the object that the phrase names.
      other: points on another object of the clip.
      situations: (clip, time) pairs with at least one visible object, for the phrase-blind rate.
      area: sum over points of the fraction of patch centers that lie on the object.
      reachable: (clip, time, phrase) triples in which at least one patch center lies on the object.
    """

    points: int = 0
    hits: int = 0
    other: int = 0
    situations: int = 0
    area: float = 0.0
    reachable: int = 0

    def add(self, heat: np.ndarray, mass: np.ndarray, objects: np.ndarray, tubelet: tuple[int, int, int]) -> None:
        """Adds one clip.

        Args:
          heat: float [K, Nt, h, w], the heat map of every phrase; its maximum is the point.
          mass: float [K, Nt, h, w], nonnegative weights that shift the point away from the center of its patch.
          objects: bool [K, T, H, W], the mask of the object of every phrase, at the model's input size.
          tubelet: frames and pixels (t, p, p) of one token.

        Raises:
          ValueError: shapes that do not match the tubelet, or a heat map that is NaN.
        """
        centers = at_patch_centers(objects, tubelet)  # [K, Nt, h, w]
        test_masks = objects[:, middle_frames(objects.shape[1], tubelet[0])]  # [K, Nt, H, W]
        if not heat.shape == mass.shape == centers.shape:
            raise ValueError(
                f"heat maps {heat.shape}, masses {mass.shape} and masks at patch centers {centers.shape}: expected the "
                "same"
            )
        if np.isnan(heat).any() or np.isnan(mass).any():
            raise ValueError("a heat map is NaN: the checkpoint has non-finite values")
        visible = test_masks.any(axis=(2, 3))  # [K, Nt]
        peaks = heat == heat.max(axis=(2, 3), keepdims=True)  # [K, Nt, h, w], more than one where tied
        own, others = _at_points(test_masks, mass)  # [K, Nt, h, w], were the peak at this patch
        hits = ~np.any(peaks & ~own, axis=(2, 3)) & visible  # [K, Nt]
        misses_on_others = ~np.any(peaks & ~others, axis=(2, 3)) & visible & ~hits  # [K, Nt]
        self.points += int(visible.sum())
        self.hits += int(hits.sum())
        self.other += int(misses_on_others.sum())
        self.situations += int(visible.any(axis=0).sum())
        self.reachable += int((centers.any(axis=(2, 3)) & visible).sum())
        self.area += float((centers.mean(axis=(2, 3)) * visible).sum())

    def metrics(self, prefix: str = "grounding") -> list[Metric]:
        """Returns the hit rate and where the misses lie.

        - `pointing_game`: hits over points, with the baselines
          `chance`: a patch drawn at random, the object's fraction of patch centers;
          `phrase_blind`: the best pointer that always lies on an object but ignores the phrase. Every visible object is
          queried once at each (clip, time), and masks do not overlap, so a pointer with the same answer to all phrases
          is right once: situations over points;
          `ceiling`: objects that contain some patch center, the limit of a pointer without sub-patch resolution.
        - `pointing_game_other_phrase`: points on another object than the named one.
        - `pointing_any_object`: points on any object.
        """
        if not self.points:
            raise ValueError(f"{prefix}: no object is visible in any clip, so the pointing game is undefined")
        baselines = {
            "chance": self.area / self.points,
            "phrase_blind": self.situations / self.points,
            "ceiling": self.reachable / self.points,
        }
        return [
            Metric(f"{prefix}/{name}", count / self.points, Unit.FRACTION, label, better, compared)
            for name, count, label, better, compared in (
                ("pointing_game", self.hits, "pointing game accuracy", True, baselines),
                ("pointing_game_other_phrase", self.other, "points on another object", False, {}),
                ("pointing_any_object", self.hits + self.other, "points on any object", True, {}),
            )
        ]


def middle_frames(frames: int, per_tubelet: int) -> np.ndarray:
    """Returns int [Nt]: the frame of every tubelet on which points are tested."""
    return np.arange(frames // per_tubelet) * per_tubelet + per_tubelet // 2


def at_patch_centers(masks: np.ndarray, tubelet: tuple[int, int, int]) -> np.ndarray:
    """Returns bool [K, Nt, h, w]: masks [K, T, H, W] at the center of every patch, in the tubelet's middle frame.

    The center of an even-sized patch is between four pixels; the lower right one is used.
    """
    frames, height, width = masks.shape[1:]
    t, p, q = tubelet
    if frames % t or height % p or width % q:
        raise ValueError(f"masks {masks.shape}: frames and pixels must be multiples of the tubelet {tubelet}")
    return masks[:, middle_frames(frames, t)][:, :, p // 2 :: p, q // 2 :: q]


def centers_of_mass(mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the center of mass of every patch and its eight neighbors, with all mass at patch centers.

    Args:
      mass: float [..., h, w], nonnegative.

    Returns:
      (y, x), float [..., h, w] each, in patches from the upper left corner; a patch without mass around it has its own
      center.
    """
    height, width = mass.shape[-2:]
    padded = np.pad(np.asarray(mass, np.float64), [(0, 0)] * (mass.ndim - 2) + [(1, 1), (1, 1)])
    total, right, down = (np.zeros(mass.shape) for _ in range(3))
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            part = padded[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            total, down, right = total + part, down + dy * part, right + dx * part
    total = np.where(total > 0, total, 1)
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None, :] + 0.5
    return rows + down / total, columns + right / total


def _at_points(test_masks: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether each patch's point would be on the phrase's object, and on another: bool [K, Nt, h, w] each.

    `test_masks`: bool [K, Nt, H, W], the masks in the frames that points are tested on.
    """
    y, x = centers_of_mass(mass)
    height, width = (pixels // patches for pixels, patches in zip(test_masks.shape[2:], mass.shape[2:], strict=True))
    # Inside the frame, since centers of mass are.
    rows, columns = (y * height).astype(int), (x * width).astype(int)  # [K, Nt, h, w] pixels
    phrase, time = np.ogrid[: len(mass), : mass.shape[1]]
    own = test_masks[phrase[..., None, None], time[..., None, None], rows, columns]
    any_object = np.any(test_masks, axis=0)[time[..., None, None], rows, columns]
    return own, any_object & ~own
