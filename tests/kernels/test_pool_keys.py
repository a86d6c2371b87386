"""The pool of keys against its definition."""

import pytest
import torch

from kernels.launch import runs_triton
from kernels.pool_keys import KeyPool, pool_keys, pool_keys_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# where there is a GPU all of this belongs to its suite
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


def empty(streams: int, keys: int) -> KeyPool:
    ints = {"dtype": torch.int32, "device": DEVICE}
    return KeyPool(
        torch.full((streams, keys), -7, **ints),
        torch.full((streams, keys), -7, **ints),
        torch.full((streams,), -7, **ints),
    )


@pytest.mark.parametrize(("slots", "streams", "tokens"), [(4, 3, 17), (1, 2, 5), (3, 1, 1)])
@pytest.mark.parametrize("kinds", [1, 2, 50])
def test_equals_the_definition(slots: int, streams: int, tokens: int, kinds: int) -> None:
    torch.manual_seed(kinds)
    shape = (slots, streams, tokens)
    page = torch.randint(kinds, shape, dtype=torch.int32, device=DEVICE)
    row_of = torch.randint(-1, 2, shape, dtype=torch.int32, device=DEVICE)
    assert runs_triton(page)
    given, expected = (empty(streams, slots * tokens) for _ in range(2))
    pool_keys(page, row_of, given)
    pool_keys_reference(page, row_of, expected)
    assert torch.equal(given.num, expected.num)
    assert torch.equal(given.rows, expected.rows)
    assert torch.equal(given.masks, expected.masks)
    for slot, stream in torch.cartesian_prod(torch.arange(slots), torch.arange(streams)).tolist():
        if row_of[slot, stream, 0] >= 0:
            count = int(given.num[stream])
            own = given.rows[stream, :count][given.masks[stream, :count] >> slot & 1 > 0]
            assert torch.equal(own.sort().values, page[slot, stream].sort().values)


def test_wrong_shapes_are_refused() -> None:
    page = torch.zeros(2, 1, 3, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"\[S, B, N\]"):
        pool_keys(page, page[:1], empty(1, 6))
