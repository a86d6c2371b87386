"""Datasets' videos coded anew: what plain PyAV finds in them, and what a second run does."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.frame import PictureType
from safetensors.torch import load_file

from engine.errors import NotFoundError, UsageError, VideoError
from engine.evaluation.bench.clips import write_moving
from engine.evaluation.datasets.extract import KINDS, Extracted, extract, is_extracted
from engine.evaluation.datasets.prepare import (
    CodingRecipe,
    check_prepared,
    prepare_dataset,
    square,
    tabulate_prepared,
)
from engine.evaluation.encodings import encode
from engine.evaluation.evaluate import at_most, find_videos
from engine.evaluation.files import named_apart, sample_file
from engine.evaluation.windows import FileFrames
from engine.vision.backbone.preprocess import Preprocessing
from engine.vision.backbone.space import Space
from engine.vision.reusevit.strategy import ReuseViT, cue_side
from engine.vision.streaming.dense import Dense

RECIPE = CodingRecipe(fps=2.0, side=64)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_moving(tmp_path_factory.mktemp("set") / "a.mp4", 7.0, size=(96, 128), fps=12)


def pictures(path: Path) -> list[tuple[str, float, np.ndarray]]:
    """Type, second and pixels of every frame, by PyAV alone."""
    with av.open(str(path)) as container:
        return [
            (PictureType(frame.pict_type).name, float(frame.time), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def test_frames_are_sampled_square_and_every_fourth_is_an_anchor(source, tmp_path) -> None:
    [made] = prepare_dataset(["a"], [("a", source)], tmp_path, RECIPE)
    found = pictures(tmp_path / "a.mp4")
    assert (made.outcome, made.frames, len(found)) == ("prepared", 14, 14)
    assert [kind for kind, _, _ in found[:13]] == ["I", *"BBBP" * 3]
    assert [second for _, second, _ in found] == pytest.approx([n / 2 for n in range(14)])
    exact = pictures(source)
    for second, image in ((second, image) for _, second, image in found):
        shown = max((each for each in exact if each[1] <= second + 1e-6), key=lambda e: e[1])[2]
        assert image.shape == (64, 64, 3)
        difference = image.astype(int) - square(shown, 64)
        assert np.abs(difference).mean() < 12  # coded at crf 22, without a search for motion


def test_videos_are_never_coded_over_themselves(source, tmp_path) -> None:
    own = tmp_path / "a.mp4"
    own.write_bytes(source.read_bytes())
    with pytest.raises(UsageError, match="holds the videos; allowed: another folder"):
        list(prepare_dataset(["a"], [("a", own)], tmp_path, RECIPE))
    assert own.read_bytes() == source.read_bytes()
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.mp4").write_bytes(source.read_bytes())
    [failed] = prepare_dataset(["b"], [("b", broken)], out, RECIPE)
    assert failed.outcome == "failed"
    assert (out / "b.mp4").read_bytes() == source.read_bytes()  # what could not be replaced stays


def test_what_lies_beside_a_video_is_not_taken_for_it(source, tmp_path) -> None:
    for name in ("a.json", "a.srt", "b/a.mp4", "c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("-")
    found = dict(find_videos(tmp_path, ["a", "c", "d"]))
    assert found == {"a": tmp_path / "b/a.mp4", "c": tmp_path / "c.json"}
    failed: list[tuple[str, str]] = []
    kept = named_apart([Path("x/a.mp4"), Path("y/a.mkv"), Path("y/b.mkv")], failed)
    assert kept == [("a", Path("x/a.mp4")), ("b", Path("y/b.mkv"))]
    assert failed == [("a.mkv", "x/a.mp4 has that name, too")]
    with pytest.raises(NotFoundError, match="no folder of videos at"):
        list(find_videos(tmp_path / "nowhere", ["a"]))


def test_the_centre_is_cut_out() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    assert (np.abs(square(image, 32).astype(int) - 200) <= 3).all()


def test_a_second_run_makes_what_is_not_there_or_damaged(source, tmp_path) -> None:
    spoiled, out = tmp_path / "c.mp4", tmp_path / "out"
    spoiled.write_bytes(b"no video")
    files = [("a", source), ("b", source), ("c", spoiled)]
    first = list(prepare_dataset(["a", "b", "c", "d"], files, out, RECIPE))
    assert [each.outcome for each in first] == ["prepared", "prepared", "failed", "missing"]
    whole = (out / "a.mp4").read_bytes()
    (out / "b.mp4").write_bytes(whole[: len(whole) // 2])
    again = list(prepare_dataset(["a", "b", "c", "d"], files, out, RECIPE))
    assert [each.outcome for each in again] == ["known", "prepared", "failed", "missing"]
    assert (out / "b.mp4").read_bytes() == whole
    assert sorted(path.name for path in out.iterdir()) == ["a.mp4", "b.mp4"]
    report = tabulate_prepared(again, out, RECIPE)
    assert [row[:2] for row in report.rows] == [
        ["prepared", 1], ["known", 1], ["failed", 1], ["missing", 1],
    ]  # fmt: skip
    assert any(note.startswith("failed c: ") for note in report.notes)
    for other in (CodingRecipe(fps=2.0, side=32), CodingRecipe(fps=1.0, side=64)):
        with pytest.raises(VideoError, match="not "):
            check_prepared(out / "a.mp4", other)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UsageError, match="side must be a multiple of 16"):
        CodingRecipe(side=100)


def test_strategies_get_the_cues_that_they_were_trained_with(source, tmp_path, small) -> None:
    list(prepare_dataset(["a"], [("a", source)], tmp_path, RECIPE))
    tower = small.tower()
    preprocessing = Preprocessing(32, 32, tower.config.mean, tower.config.std)
    trained = ReuseViT(tower, small.modules(cue="codec"))
    side = cue_side([Dense(tower), trained])
    assert side == tower.config.side
    assert cue_side([Dense(tower), ReuseViT(tower, small.modules(cue="none"))]) is None
    video = sample_file(tmp_path / "a.mp4", 2.0, preprocessing, cue_side=side)
    assert video.cues is not None
    assert video.cues.shape == (14, 4, side, side)
    thin = at_most(video, 5)
    assert thin.cues is not None
    assert torch.equal(thin.cues[-1], video.cues[-1])
    for strategy in (Dense(tower), trained):
        assert len(encode(strategy, [video]).videos["a"].frames) == 14
    with pytest.raises(UsageError, match="no codec cues given"):
        encode(trained, [sample_file(tmp_path / "a.mp4", 2.0, preprocessing)])


def test_windows_of_files_bring_the_cues_that_training_asks_for(source, tmp_path) -> None:
    list(prepare_dataset(["a"], [("a", source)], tmp_path, RECIPE))
    preprocessing = Preprocessing(32, 32, (0.5,) * 3, (0.5,) * 3)
    windows = list(FileFrames(tmp_path, preprocessing, cue_side=4).windows(6, epoch=0))
    whole = sample_file(tmp_path / "a.mp4", 2.0, preprocessing, cue_side=4)
    assert whole.cues is not None
    assert len(windows) == 2
    for at, window in enumerate(windows):
        assert window.cues is not None
        assert torch.equal(window.pixels, whole.pixels[6 * at : 6 * at + 6])
        assert torch.equal(window.cues, whole.cues[6 * at : 6 * at + 6])
    plain = next(FileFrames(tmp_path, preprocessing).windows(6, epoch=0))
    assert plain.cues is None


def test_what_a_tower_makes_of_a_video_is_written_once(source, tmp_path, small) -> None:
    tower = small.tower()
    preprocessing = Preprocessing(32, 32, tower.config.mean, tower.config.std)
    space = Space("tiny", "tiny", "local", "abc", "{}", 16)
    wanted = Extracted(KINDS, space, Dense(tower), 2.0)
    assert wanted.wants_cues
    video = sample_file(source, 2.0, preprocessing, cue_side=4)
    assert list(extract([video], tmp_path, wanted)) == [("a", 14)]
    kept = load_file(tmp_path / "a.safetensors")
    assert torch.equal(kept["pixels"], video.pixels)
    assert video.cues is not None
    assert torch.equal(kept["cues"], video.cues)
    exact = tower(tower.normalise(video.pixels))
    torch.testing.assert_close(kept["vectors"], exact, rtol=1e-4, atol=1e-5)
    last = tower.finish(kept["hidden"][:, -1].float())
    torch.testing.assert_close(last, exact, rtol=1e-2, atol=1e-2)
    assert kept["hidden"].shape == (14, 5, 17, 32)
    assert is_extracted(tmp_path / "a.safetensors", wanted)
    for other in ({"fps": 1.0}, {"settings": "r=8"}, {"kinds": ("vectors",)}):
        assert not is_extracted(tmp_path / "a.safetensors", replace(wanted, **other))
    assert not is_extracted(tmp_path / "b.safetensors", wanted)
    with pytest.raises(UsageError, match="unknown kind of what to extract 'hiden'"):
        replace(wanted, kinds=("hiden",))
