"""What merges tokens: each kernel against its definition, and that against loops."""

import pytest
import torch

from kernels.attention import attend_reference
from kernels.match import match_tokens, match_tokens_reference
from kernels.merge import merge_tokens, merge_tokens_reference
from kernels.ragged_attention import attend_sized
from kernels.rank import rank_tokens, rank_tokens_reference

GPU = torch.cuda.is_available()
DEVICE, TYPE = ("cuda", torch.bfloat16) if GPU else ("cpu", torch.float32)
TOLERANCE = 1e-2 if GPU else 1e-5


def distance(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative error in the Frobenius norm; NaN never passes."""
    return float((ours.float() - expected.float()).norm() / expected.float().norm())


def places(frames: int, tokens: int, num: int, *, first: int = 0) -> torch.Tensor:
    """Different tokens of each frame, in any order."""
    drawn = torch.rand(frames, tokens - first, device=DEVICE).argsort(1)[:, :num] + first
    return drawn.int()


def check_attention(frames: int, tokens: int, heads: int, size: int) -> None:
    torch.manual_seed(tokens)
    width = heads * size
    qkv = 2 * torch.randn(frames * tokens, 4 * width).to(DEVICE, TYPE)[:, width:]
    sizes = 3 * torch.rand(frames, tokens, device=DEVICE) - 0.5  # some of no size at all
    sizes[:, 0] = 1.0
    for given in (None, sizes):
        weights = torch.full((frames, heads, tokens), float("nan"), device=DEVICE)
        out = torch.full((frames * tokens, width), float("nan"), device=DEVICE, dtype=TYPE)
        attend_sized(qkv, heads, tokens, sizes=given, out=out, weights=weights)
        expected, shares = torch.empty_like(out).float(), torch.empty_like(weights)
        attend_reference(qkv, heads, tokens, None, expected, shares, False, given)
        assert distance(out, expected) <= TOLERANCE
        assert distance(weights, shares) <= TOLERANCE
        first = attend_sized(qkv, heads, tokens, sizes=given, class_only=True)
        torch.testing.assert_close(first, out.view(frames, tokens, width)[:, 0])


@pytest.mark.parametrize(
    ("frames", "tokens", "heads", "size"),
    [(2, 2, 1, 16), (3, 17, 2, 16), (1, 64, 1, 16), (2, 65, 1, 16), (1, 130, 2, 32)],
)
def test_attention_equals_reference(frames: int, tokens: int, heads: int, size: int) -> None:
    check_attention(frames, tokens, heads, size)


def test_a_key_of_size_two_is_as_two_keys() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3, 96, device=DEVICE).to(TYPE)
    sizes = torch.tensor([[1.0, 1.0, 2.0]], device=DEVICE)
    twice = attend_sized(torch.cat([qkv, qkv[2:]]), 2, 4)[:3]
    once = attend_sized(qkv, 2, 3, sizes=sizes)
    torch.testing.assert_close(once, twice, rtol=TOLERANCE, atol=TOLERANCE)


def test_rows_that_do_not_make_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        attend_sized(torch.zeros(10, 96), 2, 9)
    assert attend_sized(torch.zeros(0, 96, device=DEVICE), 2, 9).shape == (0, 32)


@pytest.mark.parametrize(("heads", "tokens"), [(1, 1), (3, 17), (2, 70)])
@pytest.mark.parametrize("first", [False, True])
def test_ranks_equal_reference(heads: int, tokens: int, first: bool) -> None:
    torch.manual_seed(tokens)
    scores = torch.randint(0, 9, (3, heads, tokens), device=DEVICE).float()  # many are equal
    scores[1, 0, tokens // 2] = -torch.inf
    order = rank_tokens(scores, first=first)
    assert torch.equal(order, rank_tokens_reference(scores.clone(), first=first))
    assert order.sort(1).values.tolist() == 3 * [list(range(tokens))]
    assert not first or (order[:, 0] == 0).all()


@pytest.mark.parametrize(
    ("tokens", "width", "num", "targets"), [(9, 16, 3, 4), (40, 48, 17, 20), (200, 24, 5, 70)]
)
@pytest.mark.parametrize("skip", [False, True])
def test_matches_equal_reference(
    tokens: int, width: int, num: int, targets: int, skip: bool
) -> None:
    torch.manual_seed(width)
    rows = torch.randn(2, tokens, width, device=DEVICE).to(TYPE)
    chosen = places(2, tokens, num + targets)
    split = chosen[:, :num], chosen[:, num:]
    cosine, home = match_tokens(rows, *split, skip_first=skip)
    expected, other = match_tokens_reference(rows, *split, skip_first=skip)
    torch.testing.assert_close(cosine, expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert torch.equal(home, other)
    assert not skip or (home > 0).all()


@pytest.mark.parametrize(("tokens", "num", "merged"), [(9, 4, 3), (40, 20, 17), (12, 5, 0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_merges_equal_reference_and_a_loop(
    tokens: int, num: int, merged: int, weighted: bool
) -> None:
    torch.manual_seed(tokens)
    h = torch.randn(2, tokens, 24, device=DEVICE).to(TYPE)
    sizes = 0.5 + torch.rand(2, tokens, device=DEVICE)
    chosen = places(2, tokens, num + merged)
    kept, moved = chosen[:, :num], chosen[:, num:]
    home = torch.randint(0, num, moved.shape, device=DEVICE, dtype=torch.int32)
    share = torch.rand(home.shape, device=DEVICE)
    out, grown = merge_tokens(h, sizes, kept, moved, home, share=share, weighted=weighted)
    expected = merge_tokens_reference(
        h, sizes, kept, moved, home, share, weighted, torch.empty_like(out).float()
    )
    torch.testing.assert_close(out.float(), expected[0], rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(grown, expected[1])
    for frame in range(2):
        for place in range(num):
            those = [
                int(at) for at, to in zip(moved[frame], home[frame], strict=True) if to == place
            ]
            group = [int(kept[frame, place]), *those]
            counts = sizes[frame, group] if weighted else torch.ones(len(group), device=DEVICE)
            mean = (h[frame, group].float() * counts[:, None]).sum(0) / counts.sum()
            torch.testing.assert_close(expected[0][frame, place], mean)


@pytest.mark.gpu
@pytest.mark.parametrize(("tokens", "heads"), [(257, 16), (197, 12), (61, 12)])
def test_frames_of_real_towers(tokens: int, heads: int) -> None:
    check_attention(5, tokens, heads, 64)
    scores = torch.rand(5, heads, tokens, device=DEVICE)
    assert torch.equal(rank_tokens(scores).sort(1).values[0].cpu(), torch.arange(tokens).int())
    rows = torch.randn(5, tokens, 64 * heads, device=DEVICE).to(TYPE)
    chosen = places(5, tokens, 60)
    cosine, _ = match_tokens(rows, chosen[:, :20], chosen[:, 20:])
    exact, _ = match_tokens_reference(rows, chosen[:, :20], chosen[:, 20:])
    torch.testing.assert_close(cosine, exact, rtol=1e-3, atol=1e-3)
