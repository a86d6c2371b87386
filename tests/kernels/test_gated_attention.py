"""Page-table attention against its definition in float64."""

import pytest
import torch

from kernels.gated_attention import gated_attention
from kernels.launch import runs_triton
from kernels.narrow import PackedRows
from kernels.pool_keys import KeyPool, pool_keys

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# where there is a GPU all of this belongs to its suite
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
# the interpreter multiplies no bfloat16
DTYPES = [torch.float32, torch.bfloat16 if DEVICE == "cuda" else torch.float16]


def case(
    slots: int, tokens: int, heads: int, head: int, dtype: torch.dtype, same: float
) -> tuple[torch.Tensor, torch.Tensor, PackedRows, KeyPool, torch.Tensor]:
    """A table in any order, two streams, of whose tokens a share stands for all slots.

    Few queries where many are the same, else none but the class token's, all, and some in between.
    """
    frames = 2 * slots
    width, rows = heads * head, frames * tokens
    table = torch.randn(2 * rows, 3 * width).to(DEVICE, dtype)
    page = torch.randint(2 * rows, (slots, 2, tokens), dtype=torch.int32, device=DEVICE)
    shared = torch.rand(2, tokens, device=DEVICE) < same
    page[1:] = page[0].where(shared, page[1:])
    pool = KeyPool(
        page.new_empty(2, slots * tokens), page.new_empty(2, slots * tokens), page.new_empty(2)
    )
    pool_keys(page, torch.zeros_like(page), pool)
    counts = torch.randint(1, tokens + 1, (frames,), dtype=torch.int32)
    counts[0], counts[-1] = 1, tokens
    if same > 0.5:
        counts.clamp_(max=1 + tokens // 8)
    starts = counts.cumsum(0) - counts
    queries = torch.full((frames, tokens), -5, dtype=torch.int32)
    for frame in range(frames):
        count = int(counts[frame])
        queries[frame, :count] = starts[frame] + torch.randperm(count).int()
    target = torch.randperm(2 * rows)[:rows].int().to(DEVICE)
    none = torch.empty(0, device=DEVICE)
    packed = PackedRows(none, None, none, target, queries.to(DEVICE), counts.to(DEVICE), none)
    out = torch.full((rows, width), torch.nan, dtype=dtype, device=DEVICE)
    return table, page, packed, pool, out


@pytest.mark.parametrize(
    ("slots", "tokens", "heads", "head"), [(4, 17, 2, 16), (2, 70, 3, 64), (1, 2, 1, 32)]
)
@pytest.mark.parametrize("same", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("class_only", [False, True])
def test_equals_the_definition(
    slots: int,
    tokens: int,
    heads: int,
    head: int,
    dtype: torch.dtype,
    same: float,
    class_only: bool,
) -> None:
    torch.manual_seed(tokens)
    table, page, packed, pool, out = case(slots, tokens, heads, head, dtype, same)
    assert runs_triton(table)
    gated_attention(table, page, packed, pool, heads, out, class_only=class_only)
    width, tolerance = heads * head, 1e-5 if dtype == torch.float32 else 1e-2
    written = 0
    for frame in range(2 * slots):
        count = 1 if class_only else int(packed.num_queries[frame])
        rows = packed.queries[frame, :count].long()
        named = table[page.flatten(0, 1)[frame].long()].double().view(tokens, 3, heads, head)
        q = table[packed.target[rows].long(), :width].double().view(count, heads, head)
        scores = torch.einsum("mhd,nhd->hmn", q, named[:, 1]) / head**0.5
        mixed = torch.einsum("hmn,nhd->mhd", scores.softmax(-1), named[:, 2])
        expected = mixed.reshape(count, width)
        error = (out[rows].double() - expected).norm() / expected.norm()
        assert error < tolerance
        written += count
    assert int(out.isfinite().all(1).sum()) == written


def test_nothing_is_written_of_a_stream_that_is_not_there() -> None:
    torch.manual_seed(0)
    table, page, packed, pool, out = case(4, 17, 2, 16, torch.float32, 0.3)
    row_of = torch.zeros_like(page)
    row_of[:, 1] = -1
    pool_keys(page, row_of, pool)
    gated_attention(table, page, packed, pool, 2, out)
    there = [packed.queries[2 * slot, : packed.num_queries[2 * slot]] for slot in range(4)]
    assert out[torch.cat(there).long()].isfinite().all()
    assert int(out.isfinite().all(1).sum()) == sum(map(len, there))


def test_wrong_shapes_are_refused() -> None:
    table, page, packed, pool, out = case(1, 4, 1, 16, torch.float32, 0.0)
    with pytest.raises(ValueError, match=r"\[T, 3D\]"):
        gated_attention(table[:, :32], page, packed, pool, 1, out)
