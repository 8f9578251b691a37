"""Spatio-temporal intersection over union between an object and the group that matches its phrase."""

import dataclasses

import numpy as np

from svilm_jax.evaluation.metric import Metric, Unit


@dataclasses.dataclass
class RegionOverlap:
    """IoU of the regions of phrases, summed over clips; call `add` for every clip, then read `metrics`.

    Attributes:
      phrases: number of phrases.
      iou: sum of the IoU of the region of the matched group.
      chance: sum of the IoU of as many pixels drawn at random.
      blind: sum of the best IoU of a single group for all phrases of a clip.
      clips: number of clips.
      groups: sum over clips of the number of groups that win at least one token.
    """

    phrases: int = 0
    iou: float = 0.0
    chance: float = 0.0
    blind: float = 0.0
    clips: int = 0
    groups: int = 0

    def add(self, winners: np.ndarray, matched: np.ndarray, objects: np.ndarray, tubelet: tuple[int, int, int]) -> None:
        """Scores one clip.

        Args:
          winners: int [Nt, h, w], the group that wins each token.
          matched: int [K], the group that matches each phrase best.
          objects: bool [K, T, H, W], the mask of the object of every phrase.
          tubelet: frames and pixels (t, p, p) of one token: tokens become pixels by nearest neighbor.
        """
        pixels = winners.repeat(tubelet[0], 0).repeat(tubelet[1], 1).repeat(tubelet[2], 2)  # [T, H, W]
        if pixels.shape != objects.shape[1:]:
            raise ValueError(f"tokens {winners.shape} of {tubelet} pixels do not cover masks {objects.shape[1:]}")
        used = np.unique(winners)
        self.clips += 1
        self.groups += len(used)
        present = [k for k in range(len(objects)) if objects[k].any()]  # an object never in view has no region
        if not present:
            return
        self.phrases += len(present)
        self.iou += sum(iou(pixels == matched[k], objects[k]) for k in present)
        self.chance += sum(chance_iou(pixels == matched[k], objects[k]) for k in present)
        self.blind += max(sum(iou(pixels == group, objects[k]) for k in present) for group in used)

    def metrics(self, prefix: str = "grounding") -> list[Metric]:
        """Returns the mean over phrases, and the number of groups.

        - `mean_iou`: IoU of the region of the matched group with the object's mask, over the whole clip, with the
          baselines
          `chance`: as many random pixels as the region has;
          `phrase_blind`: the group that fits all phrases of the clip best, chosen with access to the masks: an upper
          bound for any reader that ignores the phrase.
        - `groups_used`: groups that win at least one token, mean over clips (a count, not a fraction).
        """
        if not self.phrases:
            raise ValueError(f"{prefix}: no object is visible in any clip, so the region overlap is undefined")
        baselines = {"chance": self.chance / self.phrases, "phrase_blind": self.blind / self.phrases}
        label = "mean IoU of the matched group with the object"
        return [
            Metric(f"{prefix}/mean_iou", self.iou / self.phrases, Unit.FRACTION, label, True, baselines),
            Metric(f"{prefix}/groups_used", self.groups / self.clips, Unit.COUNT, "groups in use"),
        ]


def iou(region: np.ndarray, mask: np.ndarray) -> float:
    """Returns the intersection over union of two bool arrays of one shape; 0 if both are empty."""
    union = int(np.count_nonzero(region | mask))
    return int(np.count_nonzero(region & mask)) / union if union else 0.0


def chance_iou(region: np.ndarray, mask: np.ndarray) -> float:
    """Returns the IoU of `region.sum()` random pixels with `mask`, from the expected intersection.

    The expectation of the ratio differs from the ratio of expectations by a term in 1/pixels, which is neglected.
    """
    size, area = int(np.count_nonzero(region)), int(np.count_nonzero(mask))
    intersection = size * area / mask.size
    return intersection / (size + area - intersection) if size + area else 0.0
