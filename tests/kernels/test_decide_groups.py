"""The group's decisions in one pass: the kernel against its definition."""

import pytest
import torch

from kernels.decide_groups import (
    PackedGroups,
    Starts,
    decide_groups,
    decide_groups_reference,
    pack_decision,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32


def make_group(slots: int, streams: int, tokens: int, width: int, heads: int, seed: int = 0):
    """Random pre-projections whose frames resemble each other, and a table with gaps."""
    torch.manual_seed(seed)
    base = torch.randn(streams, tokens, width)
    cached = base + 0.3 * torch.randn_like(base)
    mixed = torch.stack([base + 0.5 * torch.rand(1) * torch.randn_like(base) for _ in range(slots)])
    weights = torch.rand(slots * streams, heads, tokens).softmax(-1)
    frames = (1 + 2 * slots) * streams
    order = (torch.randperm(frames) * (tokens + 3)).to(torch.int64)
    before, after = order[: slots * streams], order[slots * streams : 2 * slots * streams]
    starts = Starts(
        before.view(slots, streams).contiguous().to(DEVICE),
        after.view(slots, streams).contiguous().to(DEVICE),
        order[2 * slots * streams :].contiguous().to(DEVICE),
    )
    return (
        mixed.view(-1, width).to(DEVICE, TYPE),
        cached.to(DEVICE, TYPE),
        weights.to(DEVICE),
        starts,
    )


def make_decision(rate_bias: float, hidden: int = 160):
    """A random decision net: 6 inputs, one hidden layer, two outputs."""
    first = (torch.randn(hidden, 6), torch.randn(hidden) * 0.1)
    last = (torch.randn(2, hidden), torch.tensor([rate_bias, 0.0]))
    return pack_decision([tuple(t.to(DEVICE) for t in layer) for layer in (first, last)])


def run_both(
    mixed, cached, weights, decision, sizes, starts, slots, *, differences=True, **options
):
    """Run kernel and reference on copies; return their packed results, sorted, and the caches."""
    results = []
    for reference in (False, True):
        streams, tokens, _ = cached.shape
        packed = PackedGroups.empty(slots, streams, tokens, mixed, differences=differences)
        packed.mixed.fill_(float("nan"))
        if differences:
            packed.difference.fill_(float("nan"))
        own = cached.clone()
        arguments = (mixed, own, weights, decision, sizes, starts, packed)
        if reference:
            extra = [options.get(name) for name in ("cue", "full", "forced")]
            decide_groups_reference(*arguments, *extra)
        else:
            decide_groups(*arguments, **options)
        results.append((sort_packed(packed), own))
    return results


def sort_packed(packed: PackedGroups) -> dict[str, torch.Tensor]:
    """Both lists by their target rows, since the kernel appends in any order."""
    kept, taken = packed.counts.tolist()
    by_after, by_target = packed.after[:kept].argsort(), packed.target[:taken].argsort()
    sorted_ = {"counts": packed.counts, "reused": packed.reused}
    for name in ("mixed", "before", "after"):
        sorted_[name] = getattr(packed, name)[:kept][by_after]
    for name in ("difference", "root", "target"):
        rows = getattr(packed, name)
        sorted_[name] = None if rows is None else rows[:taken][by_target]
    assert set(sorted_) == set(PackedGroups._fields)
    return sorted_


def assert_equal(results) -> None:
    """Hold every list and the cache equal to the reference's."""
    (ours, our_cache), (theirs, their_cache) = results
    for name, expected in theirs.items():
        if expected is not None:
            torch.testing.assert_close(ours[name], expected, rtol=1e-6, atol=1e-6, msg=name)
    torch.testing.assert_close(our_cache, their_cache, rtol=0, atol=0)


@pytest.mark.parametrize(("slots", "differences"), [(1, True), (2, True), (3, False), (4, True)])
def test_chain_equals_reference(slots: int, differences: bool) -> None:
    streams, tokens, width, heads = 2, 5, 48, 3
    mixed, cached, weights, starts = make_group(slots, streams, tokens, width, heads, seed=slots)
    cue = torch.rand(slots * streams, tokens - 1, device=DEVICE)
    sizes = torch.full((streams,), slots, dtype=torch.int32, device=DEVICE)
    decision = make_decision(0.0)
    results = run_both(
        mixed, cached, weights, decision, sizes, starts, slots, differences=differences, cue=cue
    )
    assert_equal(results)


@pytest.mark.gpu
@pytest.mark.parametrize("rate", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("tokens", "width", "heads"), [(257, 1024, 16), (197, 768, 12)])
def test_groups_of_real_towers(rate: float, tokens: int, width: int, heads: int) -> None:
    mixed, cached, weights, starts = make_group(4, 5, tokens, width, heads)
    forced = torch.rand(20, tokens - 1, device=DEVICE) < rate
    sizes = torch.tensor([4, 4, 3, 0, 1], dtype=torch.int32, device=DEVICE)
    decision = make_decision(0.0)
    results = run_both(mixed, cached, weights, decision, sizes, starts, 4, forced=forced)
    assert_equal(results)


@pytest.mark.parametrize("reuse", [False, True])
def test_all_or_nothing(reuse: bool) -> None:
    mixed, cached, weights, starts = make_group(4, 2, 6, 32, 2)
    forced = torch.full((8, 5), reuse, device=DEVICE)
    sizes = torch.full((2,), 4, dtype=torch.int32, device=DEVICE)
    results = run_both(mixed, cached, weights, make_decision(0), sizes, starts, 4, forced=forced)
    assert_equal(results)
    counts = results[0][0]["counts"].tolist()
    assert counts == ([8, 40] if reuse else [48, 0])


def test_short_groups_and_full_frames() -> None:
    mixed, cached, weights, starts = make_group(4, 4, 6, 40, 2)
    sizes = torch.tensor([4, 0, 1, 3], dtype=torch.int32, device=DEVICE)
    full = torch.tensor([False, False, True, False], device=DEVICE)
    results = run_both(mixed, cached, weights, make_decision(1.0), sizes, starts, 4, full=full)
    assert_equal(results)
    reused = results[0][0]["reused"]
    assert reused[:, 1].sum() == 0
    assert reused[0, 2].sum() == 0
    assert reused[3, 3].sum() == 0


def test_decision_of_three_layers_is_refused() -> None:
    layers = [(torch.zeros(8, 6), torch.zeros(8))] * 3
    with pytest.raises(ValueError, match="one hidden layer"):
        pack_decision(layers)
