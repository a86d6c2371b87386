"""Attention by place, and what its heads weigh together: the kernels against plain definitions."""

import pytest
import torch
from torch import Tensor

from kernels.join_heads import join_heads
from kernels.located_attention import attend_located

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32
TOLERANCE = 1e-2 if torch.cuda.is_available() else 1e-5


def distance(ours: Tensor, expected: Tensor) -> float:
    """Relative error in the Frobenius norm; NaN never passes."""
    return float((ours.float() - expected).norm() / expected.norm())


def check(batch: int, heads: int, rows: int, side: int, size: int, *, located: bool) -> None:
    """Queries that lie within a table, and each pair by itself in a second way."""
    generator = torch.Generator().manual_seed(rows)
    tokens = side * side
    table = torch.randn(batch, tokens, 3, heads, size, generator=generator).to(DEVICE, TYPE)
    q, k, v = table.permute(2, 0, 3, 1, 4)
    q = q[:, :, :rows]
    added = torch.randn(2, batch, heads, rows, 2 * side - 1, generator=generator).to(DEVICE, TYPE)
    places = torch.stack([torch.randperm(tokens, generator=generator) for _ in range(batch)])
    places = places[:, :rows].to(DEVICE)
    where = (*added, places.int().contiguous()) if located else (None, None, None)
    mixed, sums = attend_located(q, k, v, *where)
    joined = join_heads(q, k, sums, *where)

    scores = torch.einsum("bhkc,bhnc->bhkn", q.double(), k.double()) / size**0.5
    if located:
        for key in range(tokens):
            for frame in range(batch):
                above = places[frame] // side - key // side + side - 1
                before = places[frame] % side - key % side + side - 1
                at = torch.arange(rows, device=DEVICE)
                scores[frame, :, :, key] += added[0, frame][:, at, above].double()
                scores[frame, :, :, key] += added[1, frame][:, at, before].double()
    shares = scores.exp() / scores.exp().sum(-1, keepdim=True)
    expected = torch.einsum("bhkn,bhnc->bkhc", shares, v.double()).flatten(2)
    assert distance(mixed, expected) <= TOLERANCE
    assert distance(sums, scores.exp().sum(-1).log()) <= TOLERANCE
    assert distance(joined, shares.square().mean(1).sqrt()) <= TOLERANCE


@pytest.mark.parametrize("located", [True, False])
@pytest.mark.parametrize(
    ("batch", "heads", "rows", "side", "size"),
    [(1, 1, 1, 1, 16), (2, 3, 5, 3, 16), (1, 2, 70, 9, 16), (1, 2, 65, 12, 32)],
)
def test_both_equal_their_definitions(
    batch: int, heads: int, rows: int, side: int, size: int, located: bool
) -> None:
    check(batch, heads, rows, side, size, located=located)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("rows", "side", "located"), [(384, 42, True), (196, 14, True), (85, 16, False)]
)
def test_shapes_of_real_towers(rows: int, side: int, located: bool) -> None:
    check(2, 12, rows, side, 64, located=located)


def test_no_rows_and_other_shapes() -> None:
    q = torch.zeros(2, 1, 0, 16, device=DEVICE)
    k = torch.zeros(2, 1, 4, 16, device=DEVICE)
    mixed, sums = attend_located(q, k, k)
    assert mixed.shape == (2, 0, 16)
    assert join_heads(q, k, sums).shape == (2, 0, 4)
    with pytest.raises(ValueError, match="in a square of 4 keys"):
        attend_located(k, k, k, torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), sums.int())
    with pytest.raises(ValueError, match="and its sums"):
        join_heads(k, k, sums)
