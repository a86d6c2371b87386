"""Another distribution adds a strategy, families of models and a dataset; they go by name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import VideoMAEConfig, VideoMAEForVideoClassification
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from engine import Engine
from engine.errors import ModelError, UsageError
from engine.evaluation.datasets.registry import DATASETS, AnnotatedSet
from engine.ingesting.report import IngestOptions
from engine.names import Names
from engine.vision.action import load_action_model
from engine.vision.backbone.detector_families import DETECTOR_FAMILIES, DetectorFamily
from engine.vision.backbone.families import FAMILIES, HUGGING_FACE
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.video_families import VIDEO_FAMILIES
from engine.vision.model import load_model
from engine.vision.registry import build_strategy, find_trained
from engine.vision.strategies import STRATEGIES, check_strategy
from engine.vision.streaming.strategy import Chunk
from engine.world.make import make_world

CODE = '''
import json
from dataclasses import dataclass, field, replace

import torch
from transformers import CLIPConfig, VideoMAEConfig

from engine.evaluation.datasets.base import Captioned, Dataset
from engine.evaluation.datasets.registry import AnnotatedSet
from engine.vision.backbone.families import Family
from engine.vision.backbone.detector_families import YOLOS
from engine.vision.backbone.video_families import VIDEOMAE
from engine.vision.backbone.weights import split_towers, text_config, vision_config
from engine.vision.streaming.dense import Dense
from engine.vision.streaming.driver import encode_streams
from engine.vision.streaming.schedule import Schedule
from engine.vision.streaming.strategy import Buildable, Chunk
from engine.vision.streaming.streams import GroupedState, Stream, plan, received


@dataclass(frozen=True)
class Held:
    """Every other frame has the vector of the one before it."""

    tower: object
    name: str = field(default="held", init=False)
    whole_streams: bool = field(default=False, init=False)

    @torch.inference_mode()
    def encode(self, chunks):
        return encode_streams(self, chunks)

    def receive(self, chunks):
        states = [received(self.tower, chunk, GroupedState)[0] for chunk in chunks]
        schedule = Schedule(refresh=1, group=1)
        return [
            Stream(state, plan(schedule, state, last=chunk.last), chunk.last)
            for chunk, state in zip(chunks, states, strict=True)
        ]

    def run(self, streams, call):
        for at, stream in zip(call.first, streams, strict=False):
            for number, step in enumerate(stream.steps):
                row = int(at) + number
                if step.full:
                    call.full[row] = True
                    call.computed[row] = self.tower.config.tokens
                    stream.memory = Dense(self.tower).embed(call.pixels[row : row + 1])[0]
                call.embeddings[row] = stream.memory
        return call.sent(call.full).double()


@dataclass(frozen=True)
class EveryOther:
    """The interface and no more: whole streams, of which every other frame is encoded."""

    tower: object
    name: str = "every-other"
    whole_streams: bool = True

    def encode(self, chunks):
        return [self.one(chunk) for chunk in chunks]

    def one(self, chunk):
        [exact] = Dense(self.tower).encode([Chunk(chunk.pixels[::2], last=True)])
        number = torch.arange(len(chunk.pixels), device=self.tower.device)
        full, at = number % 2 == 0, number // 2
        return replace(
            exact,
            embeddings=exact.embeddings[at],
            computed=exact.computed[at] * full[:, None].int(),
            macs=exact.macs[at] * full.to(exact.macs.device),
            full=full,
            drift=None,
        )


def read(folder):
    raw = json.loads((folder / "config.json").read_text())
    names = ("vision_config", "text_config", "projection_dim")
    return CLIPConfig(**{name: raw[name] for name in names}).to_dict()


def read_video(folder):
    raw = json.loads((folder / "config.json").read_text())
    return VideoMAEConfig(**{n: each for n, each in raw.items() if n != "model_type"}).to_dict()


def load(file, spans):
    return Dataset("tiny", (Captioned("1", "a.mp4", file.read_text()),))


HELD = Buildable(lambda tower, space, parts, options: Held(tower), ("tiny-1",))
EVERY_OTHER = Buildable(lambda tower, space, parts, options: EveryOther(tower))
FAMILY = Family(vision_config, text_config, split_towers, read)
VIDEO = replace(VIDEOMAE, read=read_video)
DETECTOR = replace(YOLOS, one_label=False)
SET = AnnotatedSet(load, 2.0, 8)
'''
POINTS = """[dejavu_engine.strategies]
every-other = tiny_extras:EVERY_OTHER
held = tiny_extras:HELD
gone = tiny_extras:GONE
wrong = tiny_extras:SET

[dejavu_engine.families]
tiny = tiny_extras:FAMILY

[dejavu_engine.video_families]
tiny = tiny_extras:VIDEO

[dejavu_engine.detector_families]
tiny = tiny_extras:DETECTOR

[dejavu_engine.datasets]
tiny = tiny_extras:SET
"""


def add_distribution(folder: Path, name: str, points: str) -> None:
    """Lay out what an installed distribution leaves in a folder of packages."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    packages = tmp_path / "packages"
    add_distribution(packages, "tiny-extras", POINTS)
    (packages / "tiny_extras.py").write_text(CODE)
    monkeypatch.syspath_prepend(packages)
    return packages


def test_a_strategy_goes_by_its_name(installed: Path, small) -> None:
    tower, [frames] = small.tower(), small.frames(1, 7)
    held = build_strategy("held", tower)
    [first] = held.encode([Chunk(frames[:4])])
    [rest] = held.encode([Chunk(frames[4:], first.state, last=True)])
    vectors = torch.cat([first.embeddings, rest.embeddings])
    exact = build_strategy("dense", tower).encode([Chunk(frames, last=True)])[0].embeddings
    torch.testing.assert_close(vectors, exact[[0, 0, 2, 2, 4, 4, 6]], rtol=1e-5, atol=1e-5)
    assert IngestOptions(strategy="held").strategy == "held"


@pytest.mark.parametrize("max_drift", [None, 0.2, "none"])
def test_videos_are_ingested_by_it(
    installed: Path, tmp_path: Path, max_drift: Literal["none"] | float | None
) -> None:
    make_world(tmp_path / "clips", "test", 1, 3)
    with Engine.open(tmp_path / "data", device="cpu", fps=4) as engine:
        report = engine.ingest(tmp_path / "clips", strategy="every-other", max_drift=max_drift)
        assert [video.outcome for video in report.videos] == ["ready"]
        assert report.strategy == "every-other"
        # near the default bound all may be encoded in full, which keeps the promise too
        assert (0 if max_drift is None else 0.01) <= report.reuse_rate <= 0.5
        assert report.promise.startswith(
            "nothing" if max_drift == "none" else f"a mean of at most {max_drift or 0.02}"
        )
        ours = vectors_of(engine)
        engine.ingest(tmp_path / "clips", strategy="dense", replace=True)
        drift = 1 - (ours * vectors_of(engine)).sum(1).mean()
    if max_drift != "none":
        assert drift <= (max_drift or 0.02)


def vectors_of(engine: Engine) -> np.ndarray:
    """Return the vectors of all rows, in the order of their frames."""
    rows = engine.store.rows(engine.space, [1], ["row_id"]).column("row_id").to_numpy()
    return engine.store.vectors(engine.space, np.sort(rows))


def test_parts_of_another_strategy_are_known_by_their_format(installed: Path, tmp_path) -> None:
    file = tmp_path / "parts.safetensors"
    save_file({"a": torch.ones(1)}, file, {"format": "tiny-1"})
    with pytest.raises(UsageError, match="cannot be loaded"):
        find_trained(file)  # for one of that distribution's strategies is broken
    points = installed / "tiny_extras-1.0.dist-info" / "entry_points.txt"
    points.write_text("[dejavu_engine.strategies]\nheld = tiny_extras:HELD\n")
    (installed / "other_extras.py").touch()  # as what installs a distribution writes there
    assert find_trained(file) == {"held": file}


def test_a_family_reads_its_models(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in BUILTIN.glob("*.json"):
        shutil.copy(file, folder)
    shutil.copy(BUILTIN / "model.safetensors", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "tiny"}))
    theirs, ours = load_model(str(folder), device="cpu"), load_model(device="cpu")
    texts = ["a red circle"]
    assert np.array_equal(theirs.embed_texts(texts), ours.embed_texts(texts))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "brandnew"}, "model type 'brandnew' is not one that transformers"),
        ({"model_type": "clip", "vision_config": {"hidden_size": "x"}}, "'hidden_size'"),
        ({"model_type": "clip", "text_config": 5}, "'text_config'"),
    ],
)
def test_what_transformers_cannot_read_is_said_in_one_line(
    tmp_path: Path, config: dict[str, object], told: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=told) as raised:
        HUGGING_FACE.read(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_video_family_reads_its_models(installed: Path, tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    rest = {"intermediate_size": 32, "image_size": 16, "patch_size": 8, "num_frames": 2}
    VideoMAEForVideoClassification(VideoMAEConfig(**shape, **rest)).save_pretrained(tmp_path)
    VideoMAEImageProcessorPil(size={"shortest_edge": 16}, crop_size=16).save_pretrained(tmp_path)
    clips = torch.arange(1536, dtype=torch.uint8).view(1, 2, 3, 16, 16)
    ours = load_action_model(str(tmp_path), device="cpu").classify(clips)
    config = json.loads((tmp_path / "config.json").read_text()) | {"model_type": "tiny"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(load_action_model(str(tmp_path), device="cpu").classify(clips), ours)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="'bert'; allowed: tiny, videomae, vivit"):
        load_action_model(str(tmp_path), device="cpu")


def test_a_detector_family_is_found_beside_ours(installed: Path) -> None:
    family = DETECTOR_FAMILIES.find("tiny", DetectorFamily)
    ours = DETECTOR_FAMILIES.find("yolos", DetectorFamily)
    assert (family.build, family.one_label) == (ours.build, not ours.one_label)


def test_a_dataset_goes_by_its_name(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a dog")
    found = DATASETS.find("tiny", AnnotatedSet)
    assert found.load(tmp_path / "notes.txt", None).captions[0].caption == "a dog"
    assert found.fps == 2.0


def test_unknown_names_list_what_there_is(installed: Path, small, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'helt'; allowed: .*dense, .*, held, .*; nearest: held"):
        build_strategy("helt", small.tower())
    with pytest.raises(UsageError, match=r"allowed: auto, .*dense, .*held"):
        check_strategy("nothing")
    with pytest.raises(UsageError, match="allowed: how2qa, msrvtt, nextgqa, nextqa, tiny"):
        DATASETS.find("imagenet", AnnotatedSet)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"'bert'; allowed: clip, .*, siglip, siglip2, tiny, "):
        load_model(str(tmp_path), device="cpu")


def test_what_cannot_be_loaded_is_said(installed: Path, small) -> None:
    with pytest.raises(UsageError, match="'gone' of tiny-extras cannot be loaded"):
        build_strategy("gone", small.tower())
    with pytest.raises(UsageError, match="must be a Buildable, got a AnnotatedSet"):
        build_strategy("wrong", small.tower())


def test_no_name_is_given_twice(installed: Path, small) -> None:
    add_distribution(installed, "other", "[dejavu_engine.strategies]\nheld = a:B\ndense = a:B\n")
    with pytest.raises(UsageError, match="'held' is given by other and by tiny-extras"):
        build_strategy("held", small.tower())
    with pytest.raises(UsageError, match="'dense' is given by dejavu-engine and by other"):
        build_strategy("dense", small.tower())


@pytest.mark.parametrize(
    "names",
    [STRATEGIES, FAMILIES, VIDEO_FAMILIES, DETECTOR_FAMILIES, DATASETS],
    ids=lambda each: each.what,
)
def test_ours_are_all_there(names: Names) -> None:
    assert all(names.find(name, object) is not None for name in names.own)


def test_listing_names_imports_nothing_heavy() -> None:
    code = (
        "import sys, engine.vision.strategies as found\n"
        "found.STRATEGIES.all()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
