"""Restoration against its definition; only the named rows are written."""

import pytest
import torch

from kernels.restore import restore


@pytest.mark.parametrize(("tokens", "width", "narrow"), [(5, 8, 4), (37, 24, 16), (300, 16, 3)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_equals_the_definition(tokens: int, width: int, narrow: int, share: float) -> None:
    generator = torch.Generator().manual_seed(tokens)
    mixed = torch.randn(4, tokens, width, generator=generator)  # one cached entry, three frames
    states = torch.randn(4, tokens, 4 * width, generator=generator)
    down = torch.randn(4 * narrow, width, generator=generator)
    up = torch.randn(4, narrow, width, generator=generator)
    reused = torch.rand(3, tokens, generator=generator) < share
    own = torch.arange(tokens, 4 * tokens).view(3, tokens)
    sources = torch.where(reused, own % tokens, own).int()
    expected = states.clone()
    for t, n in reused.nonzero().tolist():
        difference = mixed[1 + t, n] - mixed[0, n]
        for x in range(4):
            correction = (down[x * narrow : (x + 1) * narrow] @ difference).relu() @ up[x]
            columns = slice(x * width, (x + 1) * width)
            expected[1 + t, n, columns] = states[0, n, columns] + correction
    restore(states, mixed, sources, sources, own[reused], down, up)
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)


def test_no_difference_is_no_correction() -> None:
    mixed = torch.randn(1, 6, 8).repeat(2, 1, 1)
    states = torch.randn(2, 6, 32)
    cached = states[0].clone()
    rows = torch.arange(6, 12)
    sources = torch.arange(6, dtype=torch.int32)[None]
    restore(states, mixed, sources, sources, rows, torch.randn(8, 8), torch.randn(4, 2, 8))
    assert torch.equal(states[1], cached)


def test_wrong_shapes_are_refused() -> None:
    mixed, sources = torch.zeros(2, 6, 8), torch.zeros(1, 6, dtype=torch.int32)
    with pytest.raises(ValueError, match="4D"):
        restore(mixed, mixed, sources, sources, sources[0], torch.zeros(8, 8), torch.zeros(4, 2, 8))
    states = torch.zeros(2, 6, 32)
    with pytest.raises(ValueError, match="4C"):
        restore(
            states, mixed, sources, sources, sources[0], torch.zeros(8, 8), torch.zeros(4, 3, 8)
        )
