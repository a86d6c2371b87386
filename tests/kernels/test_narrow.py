"""The gate on the device against its definition: same decisions, rows, page and roots."""

import pytest
import torch

from kernels.launch import runs_triton
from kernels.narrow import Compared, Norm, PackedRows, Tokens, narrow, narrow_reference

REFERENCES = ((0,), (0, 1), (0, 2), (2, 1))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# where there is a GPU all of this belongs to its suite
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
# the interpreter takes a tenth of a second for a program
DTYPES = [torch.float32, torch.bfloat16] if DEVICE == "cuda" else [torch.float32]
SMALL = [(4, 2, 5, 16, 0.6), (1, 1, 3, 9, torch.inf), (2, 2, 3, 9, -1.0)]
LARGE = [
    (*shape, threshold)
    for shape in ((4, 3, 17, 40), (1, 1, 5, 16), (2, 5, 9, 33), (4, 5, 257, 1024))
    for threshold in (-1.0, 0.0, 0.6, torch.inf)
]
CASES = SMALL + LARGE if DEVICE == "cuda" else SMALL


def start(
    slots: int, streams: int, tokens: int, width: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, Tokens]:
    """Every token computed but those of one absent frame; roots near the tokens."""
    frames = slots * streams
    present = torch.ones(slots, streams, dtype=torch.bool)
    if frames > 2:
        present[-1, 0] = False
    order = present.flatten().int().cumsum(0) - 1
    rows = order[:, None] * tokens + torch.arange(tokens)
    row_of = torch.where(present.flatten()[:, None], rows, -1).view(slots, streams, tokens)
    own = torch.arange(1, slots + 1)[:, None, None].expand(slots, streams, tokens)
    follows = torch.where(present[:, :, None], own, 0)
    base = torch.randn(streams * tokens, width)
    h = torch.randn(frames * tokens, width)
    for slot, stream in present.nonzero().tolist():
        at = slice(stream * tokens, (stream + 1) * tokens)
        change = torch.rand(tokens, 1) * torch.randn(tokens, width)
        h[row_of[slot, stream].long()] = base[at] + change
    where = torch.randperm(2 * streams * tokens).view(2, streams, tokens)
    roots = torch.randn(2 * streams * tokens, width)
    roots[where[0].flatten()] = base
    state = Tokens(row_of, follows, torch.full_like(row_of, -9), where[0], where[1])
    ints = Tokens(*(value.int().to(DEVICE) for value in state))
    return h.to(DEVICE, dtype), roots.to(DEVICE, dtype), ints


def empty(frames: int, tokens: int, width: int, dtype: torch.dtype) -> PackedRows:
    ints = {"dtype": torch.int32, "device": DEVICE}
    rows = frames * tokens
    return PackedRows(
        torch.full((rows, width), torch.nan, dtype=dtype, device=DEVICE),
        None,
        torch.full((rows,), -7, **ints),
        torch.full((rows,), -7, **ints),
        torch.full((frames, tokens), -7, **ints),
        torch.ones(frames, **ints),
        torch.full((1,), frames, **ints),
    )


def copy(state: Tokens) -> Tokens:
    return Tokens(*(value.clone() for value in state))


@pytest.mark.parametrize(("slots", "streams", "tokens", "width", "threshold"), CASES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_definition(
    slots: int, streams: int, tokens: int, width: int, threshold: float, dtype: torch.dtype
) -> None:
    torch.manual_seed(slots * 100 + tokens)
    h, roots, state = start(slots, streams, tokens, width, dtype)
    assert runs_triton(h)
    norm = Norm(torch.randn(width, device=DEVICE), torch.randn(width, device=DEVICE), 1e-5)
    frames = slots * streams
    learned = (torch.randn(width, device=DEVICE), torch.randn(4, device=DEVICE))
    learned = learned if threshold == 0.6 else (None, None)
    limits = torch.full((slots, streams, tokens), threshold, device=DEVICE)
    for _ in range(2):  # the gates of two layers, one after the other
        expected_state, expected_roots = copy(state), roots.clone()
        expected = empty(frames, tokens, width, dtype)
        definition = Compared(h, expected_roots, limits, *learned)
        narrow_reference(h, definition, expected_state, expected, norm, REFERENCES)
        given = empty(frames, tokens, width, dtype)
        narrow(h, Compared(h, roots, limits, *learned), state, given, norm, REFERENCES)
        check(state, given, expected_state, expected, len(roots))
        torch.testing.assert_close(roots, expected_roots, rtol=0, atol=0)
        h = h[given.origin.clamp(min=0).long()] + 0.3 * torch.randn_like(h)


def check(
    state: Tokens, given: PackedRows, expected_state: Tokens, expected: PackedRows, num: int
) -> None:
    """Compare token by token: the order of packed rows is free."""
    assert torch.equal(state.follows, expected_state.follows)
    assert torch.equal(state.root, expected_state.root)
    assert torch.equal(state.spare, expected_state.spare)
    assert torch.equal(given.count, expected.count)
    assert torch.equal(given.num_queries, expected.num_queries)
    computed = expected_state.row_of >= 0
    assert torch.equal(state.row_of >= 0, computed)
    rows, others = state.row_of[computed].long(), expected_state.row_of[computed].long()
    assert rows.unique().numel() == rows.numel()
    assert torch.equal(given.origin[rows], expected.origin[others])
    torch.testing.assert_close(given.normed[rows], expected.normed[others], rtol=2e-2, atol=2e-2)
    tokens = computed.shape[2]
    for frame, queries in enumerate(given.queries):
        listed = queries[: given.num_queries[frame]].sort().values
        own = state.row_of.view(-1, tokens)[frame]
        wanted = torch.cat([own[:1].new_tensor([frame]), own[1:][own[1:] >= 0]]).sort().values
        assert torch.equal(listed, wanted)
    # a page entry is a root's row, or the table row of a packed row
    inside = state.page >= num
    assert torch.equal(inside, expected_state.page >= num)
    assert torch.equal(state.page[~inside], expected_state.page[~inside])
    same = given.origin[(state.page[inside] - num).long()]
    assert torch.equal(same, expected.origin[(expected_state.page[inside] - num).long()])
    leading = state.row_of[0][computed[0]].long()
    assert torch.equal(given.target[leading], state.root[computed[0]])
    later = state.row_of[1:][computed[1:]]
    assert torch.equal(given.target[later.long()], later + num)


def test_wrong_shapes_are_refused() -> None:
    h, roots, state = start(1, 1, 5, 16, torch.float32)
    norm = Norm(torch.ones(16), torch.zeros(16), 1e-5)
    packed = empty(1, 5, 16, torch.float32)
    compared = Compared(h, roots[:, :8], torch.zeros(1, 1, 5))
    with pytest.raises(ValueError, match=r"\[P, C\]"):
        narrow(h, compared, state, packed, norm, REFERENCES)
    with pytest.raises(ValueError, match=r"\[S, B, N\]"):
        narrow(h, Compared(h, roots, torch.zeros(1, 1, 4)), state, packed, norm, REFERENCES)
