"""The choice of a strategy: the fastest that keeps the bound, on made-up costs and drifts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.errors import UsageError
from engine.vision.backbone.space import Space
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.bounded.auto import LEAST, Auto
from engine.vision.registry import find_trained, fitting
from engine.vision.streaming.strategy import Chunk, Encoded, StreamState

CONFIG = VisionConfig(layers=3, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=2)


@dataclass
class Clock:
    """Time that passes as strategies say."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Costly:
    """Takes `seconds` a frame, by the brightness of its first frame, and drifts by `drift`."""

    name: str
    tower: VisionTower
    clock: Clock
    seconds: dict[str, float]
    drift: float = 0.0
    whole_streams: bool = False
    served: list[int] = field(default_factory=list)

    def encode(self, chunks: Sequence[Chunk]) -> list[Encoded]:
        return [self._one(chunk) for chunk in chunks]

    def _one(self, chunk: Chunk) -> Encoded:
        count = len(chunk.pixels)
        if count:
            kind = "dark" if chunk.pixels[0].float().mean() < 100 else "bright"
            self.clock.now += self.seconds.get(kind, self.seconds["dark"]) * count
            self.served.append(count)
        angle = chunk.pixels.float().mean((1, 2, 3)) / 255 + torch.tensor(1 - self.drift).acos()
        state = None if chunk.last else StreamState(count, chunk.pixels[:0])
        return Encoded(
            embeddings=torch.stack([angle.cos(), angle.sin()], 1),
            computed=torch.full((count, 3), 5, dtype=torch.int32),
            macs=torch.full((count,), 10.0 * (1 + (self.drift == 0)), dtype=torch.float64),
            full=torch.full((count,), self.drift == 0),
            state=state,
        )


def still(frames: int, level: int = 50) -> Tensor:
    return torch.full((frames, 3, 16, 16), level, dtype=torch.uint8)


def cut(frames: int, level: int = 50) -> Tensor:
    pixels = still(frames, level)
    pixels[::2] += 100
    return pixels


@pytest.fixture
def tower() -> VisionTower:
    return VisionTower(CONFIG)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(tower: VisionTower, clock: Clock, **seconds: float) -> Auto:
    drifts = {"dense": 0.0, "loose": 0.05}
    candidates = {
        name: Costly(name, tower, clock, {"dark": each}, drifts.get(name, 0.01))
        for name, each in seconds.items()
    }
    return Auto(candidates, 0.02, clock=clock)


def serve(auto: Auto, *streams: Tensor) -> list[str | None]:
    return [each.strategy for each in auto.encode([Chunk(s, last=True) for s in streams])]


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({"dense": 5, "gate": 2, "learned": 3}, "gate"),
        ({"dense": 5, "gate": 4, "learned": 3}, "learned"),
        ({"dense": 1, "gate": 2, "learned": 3}, "dense"),
        ({"dense": 5, "gate": 3, "loose": 1}, "gate"),
        ({"dense": 5, "loose": 1}, "dense"),
    ],
    ids=["gate", "learned", "dense", "drifts too far", "only that"],
)
def test_the_fastest_that_keeps_the_bound_serves(tower, clock, seconds, chosen) -> None:
    auto = make(tower, clock, **seconds)
    assert serve(auto, still(40), still(30)) == [chosen, chosen]
    [choice] = auto.choices.values()
    assert {w.strategy: w.seconds for w in choice.weighed} == pytest.approx(seconds)
    assert choice.kind == "still"
    before = clock.now
    assert serve(auto, still(50, 70)) == [chosen]
    assert clock.now - before == pytest.approx(50 * seconds[chosen])
    assert auto.choice.startswith(f"{chosen} for still content: ")
    assert auto.saved_seconds == pytest.approx(seconds["dense"] - seconds[chosen])


def test_a_trial_leaves_exact_vectors_and_counts_both(tower, clock) -> None:
    auto = make(tower, clock, dense=5, gate=2)
    [first] = auto.encode([Chunk(still(40), last=True)])
    [later] = auto.encode([Chunk(still(40, 60), last=True)])
    assert first.strategy == later.strategy == "gate"
    assert bool(first.full.all())
    assert not later.full.any()
    assert first.macs.tolist() == [30.0] * 40
    assert later.macs.tolist() == [10.0] * 40


def test_choices_given_from_elsewhere_are_neither_made_nor_changed_here(tower, clock) -> None:
    own = make(tower, clock, dense=5, gate=2)
    serve(own, still(40))
    given = make(tower, clock, dense=1, gate=9)  # as another process may measure it
    given.choices, given.given = dict(own.choices), True
    assert serve(given, still(40), cut(40), still(30)) == ["gate"] * 3
    assert given.choices == own.choices
    none = make(tower, clock, dense=5, gate=2)
    none.given = True
    assert serve(none, still(40), still(60)) == ["dense", "dense"]
    assert none.choices == {}


def test_each_kind_of_content_has_its_own_choice(tower, clock) -> None:
    dense = Costly("dense", tower, clock, {"dark": 5, "bright": 1})
    gate = Costly("gate", tower, clock, {"dark": 2, "bright": 2}, 0.01)
    auto = Auto({"dense": dense, "gate": gate}, 0.02, clock=clock)
    assert serve(auto, still(40), cut(40), still(30)) == ["gate", "dense", "gate"]
    assert {kind: each.strategy for kind, each in auto.choices.items()} == {
        "still": "gate",
        "cut": "dense",
    }


def test_what_falls_behind_is_replaced(tower, clock) -> None:
    auto = make(tower, clock, dense=5, gate=2)
    serve(auto, still(40))
    before = auto.why("gate")
    auto.candidates["gate"].seconds["dark"] = 9.0
    assert serve(auto, still(100)) == ["gate"]
    assert auto.why("gate") == before
    assert auto.why("dense").startswith("dense for still content: dense 5e+03 ms a frame")
    assert serve(auto, still(100)) == ["dense"]
    assert serve(auto, still(100)) == ["dense"]
    assert auto.choices["still"].strategy == "dense"


def test_short_streams_are_dense_and_decide_nothing(tower, clock) -> None:
    auto = make(tower, clock, dense=5, gate=2)
    assert serve(auto, still(LEAST - 1), still(1)) == ["dense", "dense"]
    assert not auto.choices
    assert auto.saved_seconds is None
    assert auto.choice.startswith("dense: no stream had")
    assert serve(auto, still(LEAST - 1), still(LEAST)) == ["gate", "gate"]


def test_parts_of_streams_are_refused(tower, clock) -> None:
    with pytest.raises(UsageError, match="whole streams"):
        make(tower, clock, dense=5, gate=2).encode([Chunk(still(40))])


def test_given_choices_hold(tower, clock) -> None:
    first = make(tower, clock, dense=5, gate=2)
    serve(first, still(40))
    auto = Auto(first.candidates, 0.02, first.choices, given=True, clock=clock)
    auto.candidates["gate"].seconds["dark"] = 9.0
    assert serve(auto, still(200), cut(30), still(2)) == ["gate"] * 3
    assert list(auto.choices) == ["still"]


def test_what_is_weighed_fits_the_model(tmp_path: Path) -> None:
    builtin = Space("builtin", "builtin", "local", "0" * 64, "{}", 2)
    other = Space("other", "some/model", "1", "0" * 64, "{}", 2)
    plain = ("runlength", "rgtp")
    assert fitting(other, {}) == ("dense", "earlygate", *plain)
    assert fitting(other, {}, "cuda") == ("dense", "earlygate")
    assert set(fitting(builtin, {})) >= {"dense", "earlygate", *plain}
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"format": "dejavu-reuse-1"})
    card = {"card": '{"format": "dejavu-earlygate-1"}'}
    save_file({"a": torch.ones(1)}, tmp_path / "b.safetensors", card)
    found = find_trained(tmp_path)
    assert found == {
        "reusevit": tmp_path / "a.safetensors",
        "earlygate": tmp_path / "b.safetensors",
    }
    assert fitting(other, found) == ("dense", "earlygate", *plain, "reusevit")
    assert find_trained(tmp_path / "a.safetensors") == {"reusevit": tmp_path / "a.safetensors"}
    assert find_trained(None) == {}


def test_files_that_are_no_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trained file at"):
        find_trained(tmp_path / "gone")
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="trained for no strategy"):
        find_trained(tmp_path)
    for name in "ab":
        path = tmp_path / f"{name}.safetensors"
        save_file({"a": torch.ones(1)}, path, {"format": "dejavu-reuse-1"})
    with pytest.raises(UsageError, match="a second file for reusevit"):
        find_trained(tmp_path)
    (tmp_path / "a.safetensors").write_text("nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        find_trained(tmp_path / "a.safetensors")
