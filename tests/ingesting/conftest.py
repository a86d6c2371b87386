"""A small real model, clips of flat colours, and a store to put them in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine.ingesting.report import Event
from engine.storage.store import Store
from engine.video.write import write_h264
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.space import Space
from engine.vision.backbone.text import TextConfig, TextTower
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.model import Model


def small_model(seed: int = 0) -> Model:
    """Two towers of a few thousand random weights."""
    torch.manual_seed(seed)
    vision = VisionConfig(layers=3, width=32, heads=2, mlp=64, patch=8, image_size=32, dimension=16)
    text = TextConfig(layers=1, width=16, heads=2, mlp=32, vocabulary=64, context=8, dimension=16)
    towers = VisionTower(vision), TextTower(text)
    for tower in towers:
        for parameter in tower.parameters():
            nn.init.normal_(parameter, std=0.2)
        tower.eval().requires_grad_(False)
    preprocessing = Preprocessing(32, 32, vision.mean, vision.std)
    space = Space("small", "small", "local", f"{seed:064x}", preprocessing.canonical, 16)
    return Model(*towers, None, preprocessing, space, 1.0)


def make_clip(path: Path, seconds: float, *, fps: int = 4, gop: int = 16, seed: int = 0) -> Path:
    """A clip whose every frame looks different; key pictures at least every `gop` frames."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 255, (round(seconds * fps), 3, 4, 3), dtype=np.uint8)
    images = (colour.repeat(16, 0).repeat(16, 1) for colour in colours)
    write_h264(path, images, fps, gop=gop)
    return path


def stored(store: Store, space_key: str) -> dict[str, list[tuple]]:
    """All rows by the name of their video: number, time, picture, strategy, exactness, vector."""
    names = {video.video_id: video.name for video in store.catalog.videos()}
    columns = ["video_id", "frame", "seconds", "picture", "strategy", "exact", "embedding"]
    found: dict[str, list[tuple]] = {}
    for row in store.rows(space_key, None, columns).to_pylist():
        found.setdefault(names[row.pop("video_id")], []).append(tuple(map(str, row.values())))
    return found


class Listener:
    """Keeps the events, and does something at one of them."""

    def __init__(self, stage: str = "", act: Callable[[], None] | None = None) -> None:
        self.events: list[Event] = []
        self.stage, self.act = stage, act
        self.stop = False

    def report(self, event: Event) -> None:
        self.events.append(event)
        if event.stage == self.stage and self.act:
            self.act()
            self.act = None

    def stopped(self) -> bool:
        return self.stop


@pytest.fixture(scope="session")
def model() -> Model:
    return small_model()


@pytest.fixture(scope="session")
def moved_model() -> Model:
    """One whose vectors move with what is seen: unlike pictures are 0.03 apart."""
    model = small_model()
    for parameter in model.tower.parameters():
        parameter.mul_(4)
    return model


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture(name="make_clip")
def make_clip_fixture() -> Callable[..., Path]:
    return make_clip


@pytest.fixture(name="stored")
def stored_fixture() -> Callable[[Store, str], dict[str, list[tuple]]]:
    return stored


@pytest.fixture(name="listener")
def listener_fixture() -> type[Listener]:
    return Listener


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clips of 100 s, 10 s and 2.5 s."""
    folder = tmp_path_factory.mktemp("clips")
    for seed, (name, seconds) in enumerate([("long", 100), ("middle", 10), ("short", 2.5)]):
        make_clip(folder / f"{name}.mp4", seconds, seed=seed)
    return folder
