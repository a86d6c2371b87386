"""The eight ways to lay a picture."""

import numpy as np
import pytest

from engine.video.orientation import Turn, turn_of

UNIT = 65536


@pytest.mark.parametrize("a", [-1, 0, 1])
@pytest.mark.parametrize("b", [-1, 0, 1])
@pytest.mark.parametrize("c", [-1, 0, 1])
@pytest.mark.parametrize("d", [-1, 0, 1])
def test_pixels_go_where_the_matrix_says(a, b, c, d) -> None:
    turn = turn_of(tuple(value * UNIT for value in (a, b, 0, c, d, 0, 0, 0, 1 << 14)))
    if abs(a * d - b * c) != 1 or (a and b) or (c and d):
        return
    assert turn == Turn(a, b, c, d)
    image = np.arange(6).reshape(2, 3)
    shown = turn.apply(image)
    corners = [(a * x + c * y, b * x + d * y) for x in range(3) for y in range(2)]
    left, top = np.min(corners, axis=0)
    for y in range(2):
        for x in range(3):
            assert shown[b * x + d * y - top, a * x + c * y - left] == image[y, x]
    vector = turn.apply_vectors(np.array([2.0, 5.0], np.float32))
    assert vector.tolist() == [2 * a + 5 * c, 2 * b + 5 * d]


def test_skewed_or_missing_is_upright() -> None:
    assert turn_of(None) == Turn(1, 0, 0, 1)
    assert turn_of((0,) * 9) == Turn(1, 0, 0, 1)
