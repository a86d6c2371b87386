"""ReuseViT's fused forward against its plain one: same decisions, same embeddings."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from engine.errors import UsageError
from engine.vision.backbone.precision import quantise
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.reusevit.fused import FusedReuse, fusible
from engine.vision.reusevit.memory import fitting_streams
from engine.vision.reusevit.modules import ReuseConfig, ReuseModules
from engine.vision.reusevit.plain import PlainReuse, serve
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.references import References
from engine.vision.streaming.stepper import Batch, Stepped
from engine.vision.streaming.strategy import Chunk
from tests.vision.fused.test_dense import EIGHT, distance, make_tower

SMALL = VisionConfig(3, 16, 1, 32, 4, 8, 8)
BIG = VisionConfig(4, 256, 4, 1024, 14, 224, 128)
TOLERANCE = 2e-2  # bfloat16 rounds at every layer, and the two paths round in other places
Forced = Callable[[int, int], torch.Tensor]


def make_gates(tower: VisionTower, spread: float = 0.5, narrow: int = 16):
    """Random gates, wide awake: decisions fall on both sides."""
    torch.manual_seed(1)
    modules = ReuseModules(tower.config, ReuseConfig(narrow=narrow, hidden=32, cue="none"))
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter, std=spread * parameter.shape[-1] ** -0.5)
    return serve(modules.to(tower.device), tower)


def make_batch(base: torch.Tensor, sizes: tuple[int, ...], *, full: bool) -> Batch:
    """Frames like `base` `[B, 3, S, S]` for streams with groups of these sizes."""
    slots, places = np.nonzero(np.arange(max(sizes))[:, None] < np.array(sizes))
    pixels = base[places.tolist()].int()
    pixels = (pixels + torch.randint_like(pixels, -30, 31)).clamp(0, 255).to(torch.uint8)
    return Batch(slots, places, np.full(len(slots), full), pixels)


def make_base(config: VisionConfig, streams: int, device: str) -> torch.Tensor:
    """One noisy picture a stream."""
    shape = (streams, 3, config.image_size, config.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8).to(device)


def force(fused: FusedReuse, batch: Batch, rate: float) -> Forced:
    """Draw decisions, hand them to the fused forward, and return them as the plain one asks."""
    config, forced = fused.tower.config, fused.memory.forced
    assert forced is not None
    frames = len(batch.slots)
    drawn = torch.rand(config.layers - 1, frames, config.tokens - 1, device=forced.device) < rate
    lanes = fused.width(int(batch.places.max()) + 1)
    forced[:, (batch.slots * lanes + batch.places).tolist()] = drawn
    return lambda gate, _frames: drawn[gate]


def compare(fused: Stepped, plain: Stepped, tolerance: float) -> None:
    """Same decisions, and embeddings within the tolerance."""
    assert torch.equal(fused.computed, plain.computed)
    assert distance(fused.embeddings, plain.embeddings) <= tolerance


def near(given: References, expected: References) -> bool:
    """Whether what two forwards kept of a stream is the same within rounding."""
    pairs = ((given.mixed, expected.mixed), (given.states, expected.states))
    return all(distance(ours, theirs) <= 1e-5 for ours, theirs in pairs)


@pytest.mark.parametrize("narrow", [16, 0])
def test_small_tower_decides_and_computes_as_the_plain_path(narrow: int) -> None:
    tower = make_tower(SMALL)
    gates = make_gates(tower, 2.0, narrow)
    plain, fused = PlainReuse(tower, gates, "published"), FusedReuse(tower, gates, streams=1)
    base = make_base(SMALL, 1, "cpu")
    plain.begin(1)
    fused.begin(1)
    with torch.inference_mode():
        for sizes, full in (((1,), True), ((4,), False), ((2,), False)):
            batch = make_batch(base, sizes, full=full)
            compare(fused.step(batch), plain.step(batch), 1e-5)
    assert near(*fused.saved([0]), *plain.saved([0]))


def test_eight_bits_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tower = quantise(make_tower(SMALL))
    gates = make_gates(tower, 2.0)
    fused, base = FusedReuse(tower, gates, streams=2, forced=True), make_base(SMALL, 2, "cpu")
    plain = PlainReuse(tower, gates, "published")
    plain.begin(2)
    fused.begin(2)
    with torch.inference_mode():
        for sizes, full in (((1, 1), True), ((4, 4), False), ((2, 3), False)):
            batch = make_batch(base, sizes, full=full)
            plain.forced = force(fused, batch, 0.4)
            compare(fused.step(batch), plain.step(batch), EIGHT / 5)


@pytest.mark.gpu
def test_eight_bits_on_a_gpu() -> None:
    tower = quantise(make_tower(BIG, device="cuda"))
    gates = make_gates(tower)
    fused, base = FusedReuse(tower, gates, streams=8, forced=True), make_base(BIG, 5, "cuda")
    plain = PlainReuse(tower, gates, "published")
    plain.begin(5)
    fused.begin(5)
    with torch.inference_mode():
        for full in (True, False, False):
            batch = make_batch(base, (1,) * 5 if full else (4,) * 5, full=full)
            plain.forced = force(fused, batch, 0.6)
            compare(fused.step(batch), plain.step(batch), EIGHT)


def test_fewer_streams_where_memory_is_short() -> None:
    large = VisionConfig(24, 1024, 16, 4096, 14, 224, 768)
    assert fitting_streams(large, 141 * 10**9) == 64
    assert 1 <= fitting_streams(large, 8 * 10**9) < 64
    assert fitting_streams(large, 0) == 1


def test_more_streams_than_room_are_refused() -> None:
    tower = make_tower(SMALL)
    fused = FusedReuse(tower, make_gates(tower), streams=1)
    with pytest.raises(UsageError, match="at most 1 stream"):
        fused.begin(2)


@pytest.mark.gpu
@pytest.mark.parametrize(("rate", "narrow"), [(0.0, 16), (0.5, 0), (0.9, 16), (1.0, 0)])
def test_equals_the_plain_path_at_forced_rates(rate: float, narrow: int) -> None:
    tower = make_tower(BIG, device="cuda")
    gates = make_gates(tower, narrow=narrow)
    fused = FusedReuse(tower, gates, streams=8, forced=True)
    base = make_base(BIG, 5, "cuda")
    plain = PlainReuse(tower, gates, "published")
    plain.begin(5)
    fused.begin(5)
    steps = [((1,) * 5, True), ((4,) * 5, False), ((4, 1, 3, 0, 4), False), ((4,) * 5, False)]
    with torch.inference_mode():
        for sizes, full in steps:
            batch = make_batch(base, sizes, full=full)
            plain.forced = force(fused, batch, rate)
            compare(fused.step(batch), plain.step(batch), TOLERANCE)


def test_places_without_a_frame_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernels' definitions, for the interpreter would take minutes."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tower = make_tower(SMALL)
    gates = make_gates(tower, 2.0)
    plain, fused = PlainReuse(tower, gates, "published"), FusedReuse(tower, gates, streams=8)
    base = make_base(SMALL, 7, "cpu")
    plain.begin(7)
    fused.begin(7)
    steps = (
        ((1,) * 7, True), ((4,) * 7, False), ((0, 4, 1, 3, 0, 2, 4), False),
        ((4, 0, 0, 1, 3, 0, 0), False), ((0, 2, 4, 1, 4, 3, 1), False),
    )  # fmt: skip
    with torch.inference_mode():
        for sizes, full in steps:
            batch = make_batch(base, sizes, full=full)
            compare(fused.step(batch), plain.step(batch), 1e-5)
    places = [6, 0, 3]
    for kept, expected in zip(fused.saved(places), plain.saved(places), strict=True):
        assert near(kept, expected)
    # as streams that are put aside and taken up again, elsewhere
    moved = dict(zip((2, 5, 1), fused.saved(places), strict=True))
    plain.begin(7)
    plain.load(moved)
    fused.load(moved)
    with torch.inference_mode():
        batch = make_batch(base, (0, 4, 3, 0, 0, 4, 0), full=False)
        compare(fused.step(batch), plain.step(batch), 1e-5)


def test_parts_that_can_be_served_fused() -> None:
    fits = [narrow for narrow in (0, 4, 8, 16, 24, 64) if fusible(ReuseConfig(narrow=narrow))]
    assert fits == [0, 16, 64]
    assert not fusible(ReuseConfig(chain="compound"))
    assert not fusible(ReuseConfig(decision="ldrldrl"))


@pytest.mark.gpu
@pytest.mark.parametrize("narrow", [16, 0])
def test_own_decisions_are_nearly_all_those_of_the_plain_path(narrow: int) -> None:
    tower = make_tower(BIG, device="cuda")
    gates = make_gates(tower, narrow=narrow)
    plain, fused = PlainReuse(tower, gates, "published"), FusedReuse(tower, gates, streams=4)
    base = make_base(BIG, 4, "cuda")
    plain.begin(4)
    fused.begin(4)
    with torch.inference_mode():
        for size, full in ((1, True), (4, False)):
            batch = make_batch(base, (size,) * 4, full=full)
            given, expected = fused.step(batch), plain.step(batch)
    reused = BIG.tokens - expected.computed[:, 1:]
    assert 0 < reused.sum() < reused.numel() * (BIG.tokens - 1)
    # a decision flips where rounding moves it over the edge, a few in a thousand
    flipped = (given.computed - expected.computed).abs().sum()
    assert flipped <= 0.02 * reused.numel() * 256


@pytest.mark.parametrize(
    ("config", "device", "sizes"),
    [
        (SMALL, "cpu", (3,)),
        pytest.param(BIG, "cuda", (4, 1, 3, 0, 4), marks=pytest.mark.gpu),
    ],
)
def test_rows_computed_are_those_that_the_map_leaves(
    config: VisionConfig, device: str, sizes: tuple[int, ...]
) -> None:
    tower = make_tower(config, device=device)
    fused = FusedReuse(tower, make_gates(tower, 2.0), streams=len(sizes))
    base = make_base(config, len(sizes), device)
    fused.begin(len(sizes))
    fused.step(make_batch(base, (1,) * len(sizes), full=True))
    stepped = fused.step(make_batch(base, sizes, full=False))
    computed, restored = fused.memory.counts.T.long()
    reused = (config.tokens - stepped.computed[:, 1:]).sum(0)
    assert torch.equal(computed, sum(sizes) * config.tokens - reused)
    assert torch.equal(restored, reused)
    assert 0 < reused.sum() < reused.numel() * sum(sizes) * config.tokens


@pytest.mark.gpu
def test_company_changes_nothing_and_streams_can_be_carried_over() -> None:
    tower = make_tower(BIG, device="cuda")
    gates = make_gates(tower)
    fused = FusedReuse(tower, gates, streams=16)
    base = make_base(BIG, 6, "cuda")
    torch.manual_seed(5)
    batches = [make_batch(base, (1,) * 6, full=True), make_batch(base, (4,) * 6, full=False)]
    fused.begin(6)
    together = [fused.step(batch) for batch in batches]
    for at in (0, 5):
        alone = FusedReuse(tower, gates, streams=16)
        alone.begin(1)
        for batch, stepped in zip(batches, together, strict=True):
            rows = np.flatnonzero(batch.places == at)
            single = Batch(
                batch.slots[rows], np.zeros_like(rows), batch.full[rows],
                batch.pixels[rows.tolist()],
            )  # fmt: skip
            own = alone.step(single)
            assert torch.equal(own.embeddings, stepped.embeddings[rows.tolist()])
            assert torch.equal(own.computed, stepped.computed[rows.tolist()])
            # as a stream that is put aside and taken up again
            [kept] = alone.saved([0])
            alone = FusedReuse(tower, gates, streams=16)
            alone.begin(1)
            alone.load({0: kept})


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_waits_for_nothing() -> None:
    tower = make_tower(BIG, device="cuda")
    fused = FusedReuse(tower, make_gates(tower), streams=4)
    base = make_base(BIG, 4, "cuda")
    fused.begin(4)
    batches = [make_batch(base, (1,) * 4, full=True), make_batch(base, (4,) * 4, full=False)]
    for batch in batches:
        fused.step(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            fused.step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_state_of_a_large_tower_fits() -> None:
    config = VisionConfig(24, 1024, 16, 4096, 14, 224, 768)
    with torch.device("cuda"):
        tower = VisionTower(config).to(torch.bfloat16).eval().requires_grad_(False)
    fused = FusedReuse(tower, make_gates(tower), streams=1)
    assert fused.memory.state_bytes <= 64e6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of rows computed with and dropped
def test_the_strategy_over_fused_steps_equals_itself_over_plain_ones() -> None:
    tower = make_tower(SMALL)
    torch.manual_seed(1)
    modules = ReuseModules(SMALL, ReuseConfig(narrow=16, hidden=32))
    for index in range(len(modules.gates)):
        for parameter in modules.gate(index).parameters():
            torch.nn.init.normal_(parameter, std=2 * parameter.shape[-1] ** -0.5)
    plain, fused = ReuseViT(tower, modules), ReuseViT(tower, modules)
    fused.stepper = FusedReuse(tower, serve(modules, tower), streams=1)
    base = make_base(SMALL, 2, "cpu").int()
    clips = [(at + torch.randint(-30, 31, (7, *at.shape))).clamp(0, 255).byte() for at in base]
    expected = plain.encode([Chunk(clip, last=True) for clip in clips])
    begun = fused.encode([Chunk(clip[:6]) for clip in clips])
    states = [part.state for part in begun]
    ended = fused.encode(
        [Chunk(clip[6:], state, last=True) for clip, state in zip(clips, states, strict=True)]
    )
    for first, second, whole in zip(begun, ended, expected, strict=True):
        embeddings = torch.cat([first.embeddings, second.embeddings])
        assert distance(embeddings, whole.embeddings) <= 1e-5
        assert torch.equal(torch.cat([first.computed, second.computed]), whole.computed)
    assert any((each.computed[:, 1:] < SMALL.tokens).any() for each in expected)
