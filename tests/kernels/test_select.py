"""The selection against a token-by-token definition, its edges and its refusals."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from kernels.select import CACHE, KINDS, REFERENCES, decide, select


def plain(
    mixed: Tensor,
    importance: Tensor,
    cue: Tensor,
    layers: list[tuple[Tensor, Tensor]],
    counts: list[int],
    fixed: int,
    full: Tensor,
) -> tuple[Tensor, Tensor]:
    """Decide one token at a time, keeping each frame's effective pre-projection."""
    streams, tokens = counts[0], mixed.shape[1]
    kept = mixed.clone()
    roots = torch.arange(mixed.shape[0] * tokens).view(-1, tokens)
    own, sources = roots.clone(), roots.clone()
    (w1, b1), (w2, b2) = layers
    frame = 0
    for slot, count in enumerate(counts):
        for stream in range(count):
            t = streams + frame
            for n in range(fixed, tokens):
                found = []
                for reference in REFERENCES[slot]:
                    at = stream
                    if reference != CACHE:
                        at = streams + sum(counts[:reference]) + stream
                    a, b = mixed[t, n], kept[at, n]
                    cosine = (a / (a.norm() + 1e-7)) @ (b / (b.norm() + 1e-7))
                    found.append((cosine.item(), at))
                best, at = found[0]
                if len(found) == 2 and found[1][0] > best:
                    best, at = found[1]
                one_hot = [float(k == KINDS[slot]) for k in range(3)]
                inputs = [importance[frame, n].item(), best, cue[frame, n - fixed].item(), *one_hot]
                out = w2 @ (w1 @ torch.tensor(inputs) + b1).relu() + b2
                if out[0] > out[1] and not (slot == 0 and full[stream]):
                    kept[t, n] = kept[at, n]
                    roots[t, n] = roots[at, n]
                    sources[t, n] = own[at, n]
            frame += 1
    return roots[streams:], sources[streams:]


def case(counts: list[int], tokens: int, width: int, fixed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(tokens * width + sum(counts))
    frames = sum(counts)
    base = torch.randn(1, tokens, width, generator=generator)
    noise = torch.randn(counts[0] + frames, tokens, width, generator=generator)
    importance = torch.rand(frames, tokens, generator=generator)
    cue = torch.randn(frames, tokens - fixed, generator=generator)
    return base + noise, importance, cue


def network(seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    w1, w2 = torch.randn(160, 6, generator=generator), torch.randn(2, 160, generator=generator)
    return [(w1, torch.zeros(160)), (w2, torch.zeros(2))]


@pytest.mark.parametrize("counts", [[1], [2, 2, 2, 2], [3, 2, 2, 1], [2, 1]])
@pytest.mark.parametrize(("tokens", "fixed"), [(1, 1), (17, 1), (16, 0)])
def test_equals_the_token_by_token_definition(counts: list[int], tokens: int, fixed: int) -> None:
    mixed, importance, cue = case(counts, tokens, 24, fixed)
    full = torch.arange(counts[0]) == counts[0] - 1
    chosen = select(mixed, importance, cue, network(), counts=counts, fixed=fixed, full=full)
    roots, sources = plain(mixed, importance, cue, network(), counts, fixed, full)
    assert torch.equal(chosen.roots.long(), roots)
    assert torch.equal(chosen.sources.long(), sources)


def test_bias_moves_from_nothing_to_every_patch() -> None:
    counts = [2, 2, 2, 2]
    mixed, importance, cue = case(counts, 17, 8, 1)
    own = torch.arange(2 * 17, 10 * 17).view(8, 17)
    shares = []
    for bias in (-math.inf, -5.0, 0.0, 5.0, math.inf):
        roots = select(mixed, importance, cue, network(), counts=counts, fixed=1, bias=bias).roots
        shares.append((roots != own).double().mean().item())
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 16 / 17


def test_reusing_everything_roots_every_frame_in_the_cache() -> None:
    mixed, importance, cue = case([1, 1, 1, 1], 5, 8, 1)
    roots = select(
        mixed, importance, cue, network(), counts=[1, 1, 1, 1], fixed=1, bias=math.inf
    ).roots
    assert torch.equal(roots[:, 1:].long(), torch.arange(1, 5).expand(4, 4))


def test_forced_decisions_are_followed() -> None:
    mixed, importance, _ = case([1, 1], 5, 8, 1)
    forced = torch.tensor([[True, False, True, False], [False, False, True, True]])
    own = torch.arange(5, 15).view(2, 5)
    roots = select(mixed, importance, None, [], counts=[1, 1], fixed=1, forced=forced).roots
    assert torch.equal(roots[:, 1:] != own[:, 1:], forced)


def test_decision_of_three_layers_equals_the_plain_network() -> None:
    widths = [6, 12, 10, 2]
    layers = [(torch.randn(o, i), torch.randn(o)) for i, o in pairwise(widths)]
    features = torch.rand(3, 7, 3)
    values = torch.cat([features, torch.tensor([0.0, 1.0, 0.0]).expand(3, 7, 3)], -1)
    for weight, offset in layers[:-1]:
        values = (values @ weight.T + offset).relu()
    weight, offset = layers[-1]
    expected = (values @ weight.T + offset) @ torch.tensor([1.0, -1.0])
    torch.testing.assert_close(decide(*features.unbind(-1), 1, layers), expected)


@pytest.mark.parametrize("counts", [[1, 2], [1, 1, 1, 1, 1]])
def test_wrong_counts_are_refused(counts: list[int]) -> None:
    mixed = torch.zeros(counts[0] + sum(counts), 5, 8)
    with pytest.raises(ValueError, match="counts"):
        select(mixed, mixed[..., 0], None, network(), counts=counts, fixed=1)
