"""The bound holds: statistics by simulation, the controller on made-up streams."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.bounded.audit import audit_size, check_confidence, room, upper_mean
from engine.vision.bounded.bound import Bounded
from engine.vision.bounded.controller import LOOSEST, TIGHTEST, Audited, Controller, scale
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.refresh import Refresh
from engine.vision.streaming.strategy import Chunk, Encoded, PartOf, StreamState, check_whole

CONFIG = VisionConfig(layers=3, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=16)
DENSE_COST = 100.0


@dataclass(frozen=True)
class Truth:
    """A dense encoder of one-pixel frames: the unit vector at the angle that the pixel holds."""

    tower: VisionTower
    name: str = "dense"
    whole_streams: bool = False

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        return [self.answer(chunk, torch.zeros(len(chunk.pixels)), DENSE_COST) for chunk in chunks]

    def answer(self, chunk: Chunk, drift: Tensor, cost: float) -> Encoded:
        way = 2 * chunk.pixels[:, 2, 0, 0].float() - 1
        angle = chunk.pixels[:, 0, 0, 0].float() / 40 + way * (1 - drift).acos()
        count = len(angle)
        seen = (chunk.state.num_frames if chunk.state else 0) + count
        return Encoded(
            embeddings=torch.stack([angle.cos(), angle.sin()], 1),
            computed=torch.full((count, 2), 4, dtype=torch.int32),
            macs=torch.full((count,), cost, dtype=torch.float64),
            full=drift == 0,
            state=None if chunk.last else StreamState(seen, chunk.pixels[:0]),
        )


@dataclass(frozen=True)
class MadeUp:
    """Drifts by what the second pixel of each frame says, more with the scale."""

    truth: Truth
    factor: float = 1.0
    share: float = 0.25  # of dense's cost
    name: str = "made-up"
    whole_streams: bool = False

    @property
    def tower(self) -> VisionTower:
        return self.truth.tower

    def with_scale(self, scale: float) -> "MadeUp":
        return replace(self, factor=self.factor * scale)

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        results = []
        for chunk in chunks:
            drift = chunk.pixels[:, 1, 0, 0].float() / 1000 * self.factor**1.3
            if chunk.state is None and len(drift):
                drift[0] = 0.0
            results.append(self.truth.answer(chunk, drift.clamp(max=1.0), DENSE_COST * self.share))
        return results


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(VisionTower(CONFIG))


def stream(levels: Sequence[float], seed: int) -> Tensor:
    """One-pixel frames whose drift is around `levels` thousandths, leaning right, either way."""
    random = np.random.default_rng(seed)
    drift = random.exponential(1.0, len(levels)) * np.asarray(levels)
    pixels = np.zeros((len(levels), 3, 1, 1), np.uint8)
    pixels[:, 0, 0, 0] = random.integers(0, 256, len(levels))
    pixels[:, 1, 0, 0] = drift.clip(0, 255)
    pixels[:, 2, 0, 0] = random.integers(0, 2, len(levels))
    return torch.from_numpy(pixels)


def drift_of(encoded: Encoded, truth: Truth, pixels: Tensor) -> float:
    [exact] = truth.encode([Chunk(pixels, last=True)])
    return float((1 - (encoded.embeddings * exact.embeddings).sum(1)).mean())


@pytest.mark.parametrize("risk", [0.1, 0.05, 0.01])
@pytest.mark.parametrize("shape", ["even", "exponential", "square"])
@pytest.mark.parametrize("size", [3, 6, 14, 24])
def test_upper_bound_covers_the_mean_as_often_as_it_says(
    risk: float, shape: str, size: int
) -> None:
    random = np.random.default_rng(1)
    draw: dict[str, Callable[[int], np.ndarray]] = {
        "even": random.random,
        "exponential": lambda n: random.exponential(1.0, n),
        "square": lambda n: random.random(n) ** 2,
    }
    covered, rounds = 0, 600
    for _ in range(rounds):
        drifts = draw[shape](200)
        sample = random.choice(drifts, size, replace=False)
        covered += upper_mean(sample.tolist(), risk) >= drifts.mean()
    assert covered / rounds >= 1 - risk - 0.02


def test_upper_bound_of_exponential_drifts_is_exact() -> None:
    # half of a chi-squared variable of 2 n degrees of freedom: published quantiles at 5 %
    for n, chi_squared in ((1, 0.1026), (2, 0.7107), (6, 5.2260), (15, 18.4927)):
        assert room(n, 0.05) == pytest.approx(chi_squared / 2 / n, rel=1e-3)
    assert upper_mean([0.01] * 6, 0.05) == pytest.approx(0.01 / room(6, 0.05))
    assert upper_mean([0.0, 0.0, 0.06], 0.05) > upper_mean([0.02] * 3, 0.05)  # wider than that
    assert upper_mean([], 0.05) == math.inf


def test_audits_grow_slower_than_videos() -> None:
    assert [audit_size(n) for n in (4, 40, 120, 280, 720, 7200)] == [4, 5, 8, 9, 16, 75]
    with pytest.raises(UsageError, match="confidence"):
        check_confidence(1.0)


@pytest.mark.parametrize(
    "levels",
    [
        [2] * 150,
        [15] * 150,
        [120] * 150,
        [2] * 100 + [90] * 100,
        [90] * 60 + [1] * 140,
        [1, 40] * 90,
        [5] * 70 + [100] * 10 + [5] * 70,
        [50] * 7,
        [5] * 23,
        [12] * 23,
        [25] * 23,
        [2] * 40 + [60] * 24,
    ],
    ids=[
        *("still", "usual", "busy", "jump", "calms", "mixed", "burst", "short"),
        *("brief still", "brief usual", "brief busy", "brief jump"),
    ],
)
def test_bound_is_kept_where_redundancy_jumps(truth: Truth, levels: list[float]) -> None:
    clips = [stream(levels, seed) for seed in range(40)]
    bounded = Bounded(MadeUp(truth), truth, max_drift=0.02)
    encoded = bounded.encode([Chunk(clip, last=True) for clip in clips])
    drifts = [drift_of(each, truth, clip) for each, clip in zip(encoded, clips, strict=True)]
    assert sum(drift <= 0.02 for drift in drifts) >= 38
    assert max(drifts) <= 0.04
    assert all(report.upper <= 0.02 for report in bounded.report)
    assert all(report.num_frames == len(levels) for report in bounded.report)


def test_stretches_of_a_video_share_its_audit_and_its_promise(truth: Truth) -> None:
    videos = [stream([level] * 280, seed) for level in (2, 15, 60) for seed in range(20)]
    bounded = Bounded(MadeUp(truth), truth)
    drifts, audited, costs = torch.zeros(60, 5), torch.zeros(60, 5), torch.zeros(60, 5)
    for at in range(5):
        parts = [video.split(56)[at] for video in videos]
        chunks = [Chunk(each, last=True, part_of=PartOf(i, 280)) for i, each in enumerate(parts)]
        for i, each in enumerate(bounded.encode(chunks)):
            drifts[i, at] = drift_of(each, truth, parts[i])
            audited[i, at] = bounded.report[i].audited
            costs[i, at] = float(each.macs.mean())
    assert int((drifts.mean(1) <= 0.02).sum()) >= 57
    assert float(audited[:20].sum()) < 0.05 * 20 * 280
    alone = Bounded(MadeUp(truth), truth)
    alone.encode([Chunk(part, last=True) for video in videos[:20] for part in video.split(56)])
    assert float(audited[:20].sum()) < 0.6 * sum(each.audited for each in alone.report)
    assert float(costs[20:40, 1:].mean()) < float(costs[20:40, 0].mean())  # the first one learned


def test_a_video_with_a_share_of_the_bound_is_as_under_that_bound(truth: Truth) -> None:
    video, part = stream([30] * 200, 5), PartOf(1, 200, share=0.5, risk=0.5)
    [shared] = Bounded(MadeUp(truth), truth).encode([Chunk(video, last=True, part_of=part)])
    alone = Bounded(MadeUp(truth), truth, max_drift=0.01, confidence=0.975)
    [own] = alone.encode([Chunk(video, last=True)])
    assert torch.equal(shared.embeddings, own.embeddings)
    assert alone.report[0].upper <= 0.01
    [whole] = Bounded(MadeUp(truth), truth).encode([Chunk(video, last=True)])
    assert drift_of(whole, truth, video) > drift_of(shared, truth, video)


def test_stretches_at_once_share_what_the_first_block_shows(truth: Truth) -> None:
    bounded, kept = Bounded(MadeUp(truth), truth), 0
    for seed in range(20):
        parts, key = stream([60] * 224, seed).split(56), PartOf(seed, 224)
        encoded = bounded.encode([Chunk(part, last=True, part_of=key) for part in parts])
        drifts = [drift_of(e, truth, part) for e, part in zip(encoded, parts, strict=True)]
        kept += sum(drifts) / 4 <= 0.02
        assert all(report.scale < 1 for report in bounded.report)
        assert len({report.upper for report in bounded.report}) == 1  # of the video
    assert kept >= 19


@dataclass(frozen=True)
class OneSetting:
    """The made-up strategy as others may write it: nothing scales it."""

    made_up: MadeUp
    whole_streams: bool
    name: str = "one-setting"

    @property
    def tower(self) -> VisionTower:
        return self.made_up.tower

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        if self.whole_streams:
            check_whole(self, chunks)
        return self.made_up.encode(chunks)


@pytest.mark.parametrize("whole_streams", [False, True])
@pytest.mark.parametrize("level", [2, 40, 200])
def test_a_strategy_of_one_setting_keeps_the_bound_by_dense_frames(
    truth: Truth, level: int, whole_streams: bool
) -> None:
    bounded = Bounded(OneSetting(MadeUp(truth), whole_streams), truth)
    clips = [stream([level] * 120, seed) for seed in range(4)]
    encoded = bounded.encode([Chunk(clip, last=True) for clip in clips])
    drifts = [drift_of(each, truth, clip) for each, clip in zip(encoded, clips, strict=True)]
    assert sum(drift <= bounded.max_drift for drift in drifts) >= 3
    assert max(drifts) <= 1.5 * bounded.max_drift
    for report in bounded.report:
        assert report.upper <= bounded.max_drift
        assert report.scale == 1
        assert bool(report.re_embedded) == (level > 2)


def test_still_streams_stay_cheap_and_hopeless_ones_say_so(truth: Truth) -> None:
    bounded, wild = Bounded(MadeUp(truth), truth), Bounded(MadeUp(truth, 60.0), truth)
    [still] = bounded.encode([Chunk(stream([2] * 300, 3), last=True)])
    [hopeless] = wild.encode([Chunk(stream([200] * 300, 3), last=True)])
    [first], [second] = bounded.report, wild.report
    assert float(still.macs.mean()) < 0.4 * DENSE_COST
    assert not first.fell_back
    assert first.scale == scale(0)  # too few audits to be looser than it came
    assert second.fell_back
    assert second.re_embedded > 0
    assert float(hopeless.full.float().mean()) > 0.95
    assert hopeless.drift is not None
    assert bool((hopeless.drift[hopeless.full] == 0).all())


def test_long_still_streams_become_looser_than_they_came(truth: Truth) -> None:
    bounded = Bounded(MadeUp(truth), truth)
    bounded.encode([Chunk(stream([2] * 2000, 3), last=True)])
    assert bounded.report[0].scale == scale(LOOSEST)


def test_still_streams_are_settled_by_a_first_look(truth: Truth) -> None:
    bounded = Bounded(MadeUp(truth), truth)
    bounded.encode([Chunk(stream(levels, 5), last=True) for levels in ([2] * 23, [12] * 23)])
    still, usual = bounded.report
    assert still.audited <= 6
    assert usual.audited <= 14
    assert still.upper <= bounded.max_drift


def test_what_is_dear_already_is_not_tried_tighter(truth: Truth) -> None:
    clips = [stream([40] * 23, seed) for seed in range(10)]
    costs = []
    for share in (0.25, 0.9):
        bounded = Bounded(MadeUp(truth, share=share), truth)
        encoded = bounded.encode([Chunk(clip, last=True) for clip in clips])
        costs.append(float(torch.cat([each.macs for each in encoded]).mean()) / DENSE_COST)
        assert max(drift_of(e, truth, c) for e, c in zip(encoded, clips, strict=True)) <= 0.03
    assert costs[0] < 1.2
    assert costs[1] < 0.9 + 1.0 + 0.1  # once by the strategy, once densely


def test_what_saves_nothing_gives_way_to_dense(truth: Truth) -> None:
    bounded = Bounded(MadeUp(truth, share=0.95), truth)
    [encoded] = bounded.encode([Chunk(stream([2] * 150, 3), last=True)])
    [report] = bounded.report
    assert report.fell_back
    assert bool(encoded.full[38:].all())  # after one of four blocks
    assert float(encoded.macs.mean()) < 1.02 * DENSE_COST


@given(st.lists(st.floats(0, 1), max_size=6), st.floats(0, 0.04), st.integers(TIGHTEST, LOOSEST))
@settings(max_examples=60, deadline=None)
def test_controller_moves_against_the_drift(block: list[float], spent: float, rung: int) -> None:
    move = Controller(0.02, 0.012).move(rung, [Audited(d, rung) for d in block], spent, 0.5)
    assert move.rung <= LOOSEST
    if block and min(*block, 1.0) > 0.05:
        assert move.rung < rung
        assert move.redo == (spent > 0.014)
    if max(block, default=0.0) < 0.002:
        assert move.rung >= rung


@given(st.floats(0.001, 0.05), st.floats(0, 0.01))
@settings(max_examples=40, deadline=None)
def test_what_a_calm_beginning_left_is_used(level: float, spent: float) -> None:
    controller = Controller(0.02, 0.012)
    audited = [Audited(level, 0)] * 4
    assert (
        controller.move(0, audited, spent, 0.5).rung
        >= controller.move(0, audited, spent + 0.002, 0.5).rung
    )


def test_results_do_not_depend_on_company(truth: Truth) -> None:
    clips = [stream([30] * 64, seed) for seed in range(3)]
    [alone] = Bounded(MadeUp(truth), truth).encode([Chunk(clips[0], last=True)])
    together = Bounded(MadeUp(truth), truth).encode([Chunk(clip, last=True) for clip in clips])
    assert torch.equal(together[0].embeddings, alone.embeddings)
    assert together[0].drift is not None
    assert alone.drift is not None
    assert torch.equal(together[0].drift, alone.drift)


def test_parts_of_streams_are_refused(truth: Truth) -> None:
    clip, bounded = stream([30] * 64, 0), Bounded(MadeUp(truth), truth)
    for chunk in (Chunk(clip), Chunk(clip, StreamState(0, clip[:0]), last=True)):
        with pytest.raises(UsageError, match="whole streams"):
            bounded.encode([chunk])


@dataclass(frozen=True)
class Cued(MadeUp):
    """Wants a cue for each frame: its own pixels."""

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        for chunk in chunks:
            assert chunk.cues is not None
            assert torch.equal(chunk.cues, chunk.pixels.float())
        return super().encode(chunks)


def test_cues_go_with_their_frames_through_blocks_and_repetitions(truth: Truth) -> None:
    clip = stream([5] * 60 + [90] * 60, seed=3)
    bounded = Bounded(Cued(truth), truth)
    [encoded] = bounded.encode([Chunk(clip, last=True, cues=clip.float())])
    assert len(encoded.embeddings) == 120
    assert bounded.report[0].scale < 1


def test_early_gate_is_held_under_the_bound() -> None:
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    clip = torch.randint(0, 256, (1, 3, 16, 16)).repeat(80, 1, 1, 1)
    moved = torch.randint(0, 256, (80, 3, 16, 16))
    clip = torch.where((torch.arange(80) > 40)[:, None, None, None], moved, clip)
    clip = clip.clamp(0, 255).to(torch.uint8)
    dense = Dense(tower)
    gate = EarlyGate(tower, FixedLimits.uniform(CONFIG, 2.0), Refresh(cut=1.0))
    [loose], [exact] = gate.encode([Chunk(clip, last=True)]), dense.encode([Chunk(clip, last=True)])
    before = float(1 - torch.cosine_similarity(loose.embeddings, exact.embeddings).mean())
    assert before > 1e-4
    bounded = Bounded(gate, dense, max_drift=before / 3)
    [kept] = bounded.encode([Chunk(clip, last=True)])
    after = float(1 - torch.cosine_similarity(kept.embeddings, exact.embeddings).mean())
    assert after <= before / 3
    assert bounded.report[0].mean == pytest.approx(after, abs=before / 3)


def test_bounds_are_checked(truth: Truth) -> None:
    with pytest.raises(UsageError, match="max_drift"):
        Bounded(MadeUp(truth), truth, max_drift=0.0)
    bounded = Bounded(MadeUp(truth), truth)
    [empty] = bounded.encode([Chunk(stream([], 0), last=True)])
    assert len(empty.embeddings) == 0
    assert empty.state is None
