"""Tests of direction words: found alone and in compounds, and not in words that only contain their letters."""

import pytest

from svilm_jax.text.direction_words import mentions_side

SIDED = """
slides left | moves to the Right. | leftwards | drifting rightward | a left-hand glove | right-handed | turns clockwise
counter-clockwise | anticlockwise | upper-left corner | leftmost | turn_left | push_from_left_to_right | turnLeft
bottomleft | leftside | rightside | turnleft | TURN_LEFT | TurnRight | moveRIGHT | LEFTturn | left2right | left/right
bottom\u2010right | turn\uff3fleft | turn\u203fleft | \uff54\uff55\uff52\uff4e \uff4c\uff45\uff46\uff54 | turn\u00adleft
le\u200bft | le\u00adft | counterclockwise_turn | rotateClockwise | brightleft | bright_right | arrowright | windowright
viewright | slowright | LeFt | upRight | upper right of a bright room | a lefty | links.left.rechts | leftright
"""
PLAIN = """
a bright star | leftover food | an upright post | copyright | righteous | bright | Brightness | brighten | Brighton
overbright | frightened | stage fright | a playwright | Wright | the shipwrights | alright
outright | downright | forthright | birthright | a cleft lip | clefts | leftist | rightful owner | rightly | copyrighted
theft | deft | a lift | eight | night | writing | clock
"""


def entries(table: str) -> list[str]:
    return [entry.strip() for line in table.strip().splitlines() for entry in line.split("|")]


@pytest.mark.parametrize("text", entries(SIDED))
def test_texts_with_sides(text):
    assert mentions_side(["nothing here", text])


@pytest.mark.parametrize("text", [*entries(PLAIN), ""])
def test_texts_without_sides(text):
    assert not mentions_side([text])
