"""Grammar of moving shapes: sentences, questions and answers, with truth conditions on scenes.

A sentence is drawn in two steps: a `Claim` (the mentioned objects and attributes), then its wording. Claims can be
tested against other scenes, which keeps the hard galleries unambiguous.
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
# (after a phrase, after "there is" and "with"). Chosen among many wordings as those whose noun phrases spaCy finds
# best: "a red square slides" it takes for something called slides, "a red square is sliding" it does not.
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
class Mention:
    """One object as mentioned in a claim: None for an omitted attribute."""

    index: int
    shape: str
    color: str
    size: str | None
    motion: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """Assertion of a sentence about a scene."""

    mentions: tuple[Mention, ...]
    texture: str | None

    def true_of(self, scene: Scene) -> bool:
        """Returns whether the mentioned objects are in the scene, each once, over the texture."""
        if self.texture is not None and self.texture != scene.background.texture:
            return False
        return any(
            all(_fits(m, t) for m, t in zip(self.mentions, things, strict=True))
            for things in itertools.permutations(scene.things, len(self.mentions))
        )


def draw_claim(rng: np.random.Generator, scene: Scene, complete: bool) -> Claim:
    """Draws a claim about a scene. `complete`: every object is mentioned, for galleries; else one may be omitted."""
    order = list(rng.permutation(len(scene.things)))
    if not complete and len(order) > 1 and rng.random() < (0.4 if len(order) == 3 else 0.1):
        order = order[:-1]
    mentions = tuple(_mention(rng, int(i), scene.things[i]) for i in order)
    return Claim(mentions, scene.background.texture if rng.random() < 0.75 else None)


def say(rng: np.random.Generator, claim: Claim) -> tuple[str, dict[int, str]]:
    """Returns the wording of a claim: the sentence, and for each mentioned object (by index) its phrase."""
    phrases = {m.index: _phrase(rng, m) for m in claim.mentions}
    verbs = {m.index: VERBS[m.motion][rng.integers(len(VERBS[m.motion]))] for m in claim.mentions}
    place = _place(rng, claim.texture)
    finite = [f"{phrases[m.index]} {verbs[m.index][0]}" for m in claim.mentions]
    running = [f"{phrases[m.index]} {verbs[m.index][1]}" for m in claim.mentions]
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
    return [ACTIONS[scene.things[0].motion]] if len(scene.things) == 1 else []


def questions(rng: np.random.Generator, scene: Scene) -> list[tuple[str, str, str]]:
    """Returns (question, answer, kind) triples: how many, what color, what shape, what (motion), and the texture."""
    triples = [
        ("how many shapes are there?", str(len(scene.things)), "how many"),
        ("what does the background look like?", scene.background.texture, "what"),
    ]
    for thing in scene.things:
        if sum(t.shape == thing.shape for t in scene.things) == 1:
            triples.append((f"what color is the {thing.shape}?", thing.color, "what color"))
            triples.append((f"what does the {thing.shape} do?", ACTIONS[thing.motion], "what"))
        if sum(t.color == thing.color for t in scene.things) == 1:
            triples.append((f"what shape is the {thing.color} thing?", thing.shape, "what shape"))
    chosen = rng.permutation(len(triples))[:4]
    return [triples[i] for i in sorted(chosen)]


def _fits(mention: Mention, thing: ShapeInstance) -> bool:
    return (
        mention.shape == thing.shape
        and mention.color == thing.color
        and mention.motion == thing.motion
        and mention.size in (None, thing.size)
    )


def _mention(rng: np.random.Generator, index: int, thing: ShapeInstance) -> Mention:
    # A growing object is small and large in turn: neither word would be true of it.
    size = thing.size if rng.random() < 0.75 and thing.motion != "grow" else None
    return Mention(index, thing.shape, thing.color, size, thing.motion)


def _phrase(rng: np.random.Generator, mention: Mention) -> str:
    words = [mention.color, str(rng.choice(SHAPE_WORDS[mention.shape]))]
    if mention.size is not None:
        words.insert(0, str(rng.choice(SIZE_WORDS[mention.size])))
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
