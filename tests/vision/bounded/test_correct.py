"""What audits tell of frames like theirs, held against a slow oracle and against what fools it."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from engine.evaluation.bench.simulate import STREAMS, run
from engine.vision.bounded.correct import FAR, TRUST, Anchors


def anchors(seed: int, count: int = 9, *, off: float = 0.3, same: bool = False) -> Anchors:
    """Audited frames of a video whose vectors are off by so much, all by the same or each alone."""
    random = torch.Generator().manual_seed(seed)
    base = torch.randn(1, 16, generator=random)
    ours = base + 0.02 * torch.randn(count, 16, generator=random)
    way = torch.randn(1 if same else count, 16, generator=random)
    exact = ours + off * way
    return Anchors.of(ours, exact, torch.arange(count) * 10)


def slowly(known: Anchors, unit: np.ndarray, place: int, left_out: int | None) -> np.ndarray:
    """Correct one vector, number by number."""
    best, least = None, math.inf
    for at in range(len(known.places)):
        ours, exact = known.ours[at].numpy(), known.exact[at].numpy()
        apart = max(0.0, 1 - float(ours @ unit))
        far = apart + FAR * abs(place - int(known.places[at]))
        if at != left_out and far < least:
            drift = max(0.0, 1 - float(ours @ exact))
            least, best = far, drift / (drift + TRUST * apart + 1e-9) * (exact - ours)
    moved = unit + best
    return moved / np.linalg.norm(moved)


def test_vectors_are_corrected_as_a_slow_oracle_does() -> None:
    for seed in range(5):
        known = anchors(seed, off=0.1 + 0.1 * seed)
        vectors = 3 * (known.ours[::2] + 0.01)
        units, places = F.normalize(vectors, dim=1), torch.tensor([5, 15, 25, 44, 81])
        ours = known.take_off(vectors, places)
        assert torch.allclose(ours.norm(dim=1), vectors.norm(dim=1), atol=1e-4)
        for row, (unit, place) in enumerate(zip(units, places.tolist(), strict=True)):
            expected = slowly(known, unit.numpy(), place, None)
            assert np.allclose(F.normalize(ours[row], dim=0), expected, atol=1e-4)
        for at, left in enumerate(known.left_out().tolist()):
            alone = slowly(known, known.ours[at].numpy(), int(known.places[at]), at)
            drift = 1 - float(alone @ known.exact[at].numpy())
            assert left == np.float32(drift) or abs(left - drift) < 1e-5


def test_what_frames_have_in_common_is_told_and_what_each_has_alone_is_not() -> None:
    for seed in range(20):
        drifts, helps = anchors(seed, same=True).told()
        assert helps
        assert float(drifts.mean()) < 0.2 * float(anchors(seed, same=True).drifts.mean())
        drifts, helps = anchors(seed).told()
        assert not helps
        assert torch.equal(drifts, anchors(seed).drifts)


def test_one_audit_tells_of_itself_alone() -> None:
    drifts, helps = anchors(1, 1).told()
    assert not helps
    assert torch.equal(drifts, anchors(1, 1).drifts)
    joined = Anchors.joined([anchors(1, 1), anchors(2, 3)])
    assert joined.places.tolist() == [0, 0, 10, 20]


def test_streams_that_look_alike_and_are_not_keep_the_bound() -> None:
    names = ("alike and turned", "stale, then turned", "stale")
    report = run(rounds=40, seed=3, sizes=((1, 160),), streams={n: STREAMS[n] for n in names})
    rows = {row[0]: dict(zip(report.columns, row, strict=True)) for row in report.rows}
    assert all(row["kept"] >= 0.95 for row in rows.values())
    assert rows["stale"]["drift"] < 0.6 * rows["alike and turned"]["drift"]
    assert rows["stale"]["of its gain"] > 1
