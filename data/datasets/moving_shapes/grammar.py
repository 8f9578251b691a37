"""Grammar of moving shapes: sentences, questions and answers, with truth conditions on scenes.

A sentence is drawn in two steps: a `SceneDescription` (objects and attributes), then its wording. Descriptions
can be tested against other scenes, which keeps the hard galleries unambiguous.
"""

import dataclasses
import itertools

import numpy as np
from svilm_data.datasets.moving_shapes.scene import Scene, ShapeInstance

SHAPE_WORDS = {
    "square": ("square", "square", "box"),
    "circle": ("circle", "circle", "disc"),
    "triangle": ("triangle",),
    "ring": ("ring", "ring", "hoop"),
    "star": ("star",),
    "cross": ("cross",),
}
SIZE_WORDS = {"small": ("small", "small", "tiny", "little"), "large": ("large", "big", "big", "huge")}
PLACES = ("floor", "wall", "background", "surface")
# (after a phrase, after "there is" and "with"). Of many wordings, those whose noun phrases spaCy extracts best: it
# parses "slides" in "a red square slides" as a noun, but not "is sliding".
VERBS = {
    "left": (
        ("is sliding left", "going left"),
        ("is moving left", "sliding left"),
        ("goes left", "going left"),
    ),
    "right": (
        ("is sliding right", "sliding right"),
        ("is moving right", "going right"),
        ("goes right", "sliding right"),
    ),
    "up": (("is sliding up", "sliding up"), ("is rising", "rising"), ("goes up", "moving upwards")),
    "down": (("is sliding down", "sliding down"), ("is sinking", "going down"), ("goes down", "falling down")),
    "spin": (("is spinning", "turning around"), ("is rotating", "rotating"), ("turns around", "turning round")),
    "bounce": (("is bouncing", "bouncing"), ("hops up and down", "hopping up and down"), ("is jumping", "jumping up")),
    "appear": (("appears", "appearing"), ("pops up", "popping up")),
    "grow": (("is growing", "growing"), ("gets bigger", "getting bigger"), ("expands", "expanding")),
    "rest": (("stays still", "staying still"), ("is resting", "keeping still"), ("does not move", "standing still")),
}
ACTIONS = {
    "left": "slide left",
    "right": "slide right",
    "up": "slide up",
    "down": "slide down",
    "spin": "spin",
    "bounce": "bounce",
    "appear": "appear",
    "grow": "grow",
    "rest": "rest",
}


@dataclasses.dataclass(frozen=True)
class ObjectDescription:
    """Object as described by a sentence; an attribute is None if it is omitted."""

    index: int
    shape: str
    color: str
    size: str | None
    motion: str


@dataclasses.dataclass(frozen=True)
class SceneDescription:
    """Content of a sentence about a scene: the described objects, and the texture of the background or None."""

    objects: tuple[ObjectDescription, ...]
    texture: str | None

    def matches(self, scene: Scene) -> bool:
        """Returns whether all described objects are in the scene, each once, over the described texture."""
        if self.texture is not None and self.texture != scene.background.texture:
            return False
        return any(
            all(_fits(m, t) for m, t in zip(self.objects, candidates, strict=True))
            for candidates in itertools.permutations(scene.objects, len(self.objects))
        )


def draw_description(rng: np.random.Generator, scene: Scene, complete: bool) -> SceneDescription:
    """Draws a description of a scene.

    Args:
      rng: random stream.
      scene: scene to describe.
      complete: whether every object is described, as galleries need; else one may be omitted.
    """
    order = list(rng.permutation(len(scene.objects)))
    if not complete and len(order) > 1 and rng.random() < (0.4 if len(order) == 3 else 0.1):
        order = order[:-1]
    objects = tuple(_describe(rng, int(i), scene.objects[i]) for i in order)
    return SceneDescription(objects, scene.background.texture if rng.random() < 0.75 else None)


def verbalize(rng: np.random.Generator, description: SceneDescription) -> tuple[str, dict[int, str]]:
    """Draws the wording of a description: the sentence, and the phrase of each described object by its index."""
    phrases = {m.index: _phrase(rng, m) for m in description.objects}
    verbs = {m.index: VERBS[m.motion][rng.integers(len(VERBS[m.motion]))] for m in description.objects}
    place = _place(rng, description.texture)
    finite = [f"{phrases[m.index]} {verbs[m.index][0]}" for m in description.objects]
    running = [f"{phrases[m.index]} {verbs[m.index][1]}" for m in description.objects]
    style = rng.integers(4)
    if style == 0:
        text = _join(rng, finite, ("while", "as", "and"))
        text = f"{finite[0]} {_over(rng)} {place}{text[len(finite[0]) :]}" if place else text
    elif style == 1:
        text = _join(rng, finite, ("while", "as", "and"))
        text = f"{_over(rng)} {place}, {text}" if place else text
    elif style == 2:
        text = f"there is {_join(rng, running, ('and',))}" + (f" {_over(rng)} {place}" if place else "")
    else:
        rest = _join(rng, running[1:], ("and",))
        text = finite[0] + (f" with {rest}" if rest else "") + (f" {_over(rng)} {place}" if place else "")
    return text, phrases


def actions(scene: Scene) -> list[str]:
    """Returns the action label of a single object; with several objects a label would be ambiguous."""
    return [ACTIONS[scene.objects[0].motion]] if len(scene.objects) == 1 else []


def questions(rng: np.random.Generator, scene: Scene) -> list[tuple[str, str, str]]:
    """Returns (question, answer, kind) triples: how many, what color, what shape, what (motion), and the texture."""
    triples = [
        ("how many shapes are there?", str(len(scene.objects)), "how many"),
        ("what does the background look like?", scene.background.texture, "what"),
    ]
    for item in scene.objects:
        if sum(t.shape == item.shape for t in scene.objects) == 1:
            triples.append((f"what color is the {item.shape}?", item.color, "what color"))
            triples.append((f"what does the {item.shape} do?", ACTIONS[item.motion], "what"))
        if sum(t.color == item.color for t in scene.objects) == 1:
            triples.append((f"what shape is the {item.color} thing?", item.shape, "what shape"))
    chosen = rng.permutation(len(triples))[:4]
    return [triples[i] for i in sorted(chosen)]


def _fits(described: ObjectDescription, item: ShapeInstance) -> bool:
    return (
        described.shape == item.shape
        and described.color == item.color
        and described.motion == item.motion
        and described.size in (None, item.size)
    )


def _describe(rng: np.random.Generator, index: int, item: ShapeInstance) -> ObjectDescription:
    # A growing object is small and large in turn: neither word would be true of it.
    size = item.size if rng.random() < 0.75 and item.motion != "grow" else None
    return ObjectDescription(index, item.shape, item.color, size, item.motion)


def _phrase(rng: np.random.Generator, described: ObjectDescription) -> str:
    words = [described.color, str(rng.choice(SHAPE_WORDS[described.shape]))]
    if described.size is not None:
        words.insert(0, str(rng.choice(SIZE_WORDS[described.size])))
    return f"{_article(words[0])} {' '.join(words)}"


def _place(rng: np.random.Generator, texture: str | None) -> str:
    return f"{_article(texture)} {texture} {rng.choice(PLACES)}" if texture else ""


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _over(rng: np.random.Generator) -> str:
    return str(rng.choice(("over", "on", "above")))


def _join(rng: np.random.Generator, parts: list[str], words: tuple[str, ...]) -> str:
    if len(parts) < 3:
        return f" {rng.choice(words)} ".join(parts)
    return f"{parts[0]}, {parts[1]} {rng.choice(words)} {parts[2]}"
