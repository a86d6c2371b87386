"""Rows copied within a table and between two: the kernel against its definition."""

import pytest
import torch

from kernels.copy_rows import copy_rows, copy_rows_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def check(rows: int, width: int, num: int | None) -> None:
    torch.manual_seed(rows)
    table = torch.randn(2 * rows + 3, width).to(DEVICE)
    order = torch.randperm(len(table), device=DEVICE).int()
    source, target = order[:rows].contiguous(), order[rows : 2 * rows].contiguous()
    source = source[torch.randint(0, max(rows, 1), (rows,), device=DEVICE)] if rows else source
    count = None if num is None else torch.tensor([num], dtype=torch.int32, device=DEVICE)
    expected = table.clone()
    copy_rows(table, source, target, count=count)
    copy_rows_reference(expected, source, target, count=count)
    assert torch.equal(table, expected)


@pytest.mark.parametrize(("rows", "width"), [(0, 8), (1, 1), (7, 48), (33, 1100)])
@pytest.mark.parametrize("num", [None, 0, 1])
def test_carry_equals_reference(rows: int, width: int, num: int | None) -> None:
    check(rows, width, None if num is None else min(num, rows))


@pytest.mark.gpu
@pytest.mark.parametrize("width", [768, 4096])
@pytest.mark.parametrize("num", [None, 0, 30_000])
def test_rows_of_real_towers(width: int, num: int | None) -> None:
    check(40_001, width, num)


@pytest.mark.parametrize("width", [48, pytest.param(2048, marks=pytest.mark.gpu)])
@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_rows_go_out_of_a_wider_table_and_back(width: int, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    table = torch.randn(50, 3 * width).to(DEVICE)
    part, expected = table[:, width : 2 * width], table.clone()
    rows = torch.randperm(50, device=DEVICE)[:13].to(kind)
    out = torch.full((13, width), torch.nan, device=DEVICE)
    copy_rows(part, rows, None, out=out)
    assert torch.equal(out, part[rows.long()])
    copy_rows(-out, None, rows, out=part)
    expected[rows.long(), width : 2 * width] *= -1
    assert torch.equal(table, expected)


def test_lists_of_other_lengths_are_refused() -> None:
    rows = torch.zeros(3, dtype=torch.int32)
    with pytest.raises(ValueError, match="expected"):
        copy_rows(torch.zeros(5, 4), rows, rows[:2])
    with pytest.raises(ValueError, match="expected"):
        copy_rows(torch.zeros(5, 4), rows, None, out=torch.zeros(5, 3))
    with pytest.raises(ValueError, match="expected"):
        copy_rows(torch.zeros(5, 4), None, None)
