"""Strategies judged side by side."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from engine.answering.span_head import SpanConfig, SpanHead, SpanReader
from engine.errors import NotFoundError, UsageError
from engine.evaluation.datasets.base import Captioned, Dataset
from engine.evaluation.encodings import Pixels
from engine.evaluation.evaluate import (
    at_most,
    encode_by_all,
    evaluate_files,
    evaluate_world,
    find_videos,
)
from engine.evaluation.heads import TrainedHeads
from engine.search.sequence import SequenceConfig, SequenceHead, SequencePooler
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.streaming.dense import Dense


class TinyModel:
    """A random tower with a text side that draws a fixed vector for each text."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.tower = VisionTower(VisionConfig(2, 32, 2, 64, 16, 32, 16)).eval()

    def embed_texts(self, texts) -> np.ndarray:
        """Draw a unit vector from each text's bytes."""
        if not texts:
            return np.empty((0, 16), np.float32)
        rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Again(Dense):
    """Dense by another name."""

    name: str = field(default="again", init=False)


def test_the_world_is_judged_by_every_strategy() -> None:
    model = TinyModel()
    again = Again(model.tower)
    report = evaluate_world(
        model, {"dense": Dense(model.tower), "again": again}, clips=3, fps=1.0, workers=0
    )
    first, second = (dict(zip(report.columns, row, strict=True)) for row in report.rows)
    [costs] = report.more
    cost = dict(zip(costs.columns, costs.rows[1], strict=True))
    assert second["strategy"] == cost["strategy"] == "again"
    assert cost["drift"] == pytest.approx(0, abs=1e-6)
    assert cost["MACs ×"] == 1
    assert {k: first[k] for k in ("R@1", "acc", "mIoU")} == {
        k: second[k] for k in ("R@1", "acc", "mIoU")
    }
    assert "3 test clips" in report.text()


def test_trained_heads_stand_beside_what_there_is_without_them() -> None:
    model = TinyModel()
    torch.manual_seed(1)
    heads = TrainedHeads(
        SequencePooler(SequenceHead(SequenceConfig(16, 2, 1)).eval(), "abc"),
        SpanReader(SpanHead(SpanConfig(16, 32, 1, 2)).eval(), "abc"),
    )
    strategies = {"dense": Dense(model.tower)}
    report = evaluate_world(model, strategies, clips=4, fps=1.0, workers=0, heads=heads)
    _, pooled, spans = report.more
    [row] = pooled.rows
    told = dict(zip(report.columns, report.rows[0], strict=True))
    assert row[:2] == ["dense", told["R@1"]]
    assert pooled.data["dense"]["R@1"]["items"] == 4
    ours = dict(zip(spans.columns, spans.rows[0], strict=True))
    assert (ours["mIoU"], ours["Acc@GQA"]) == (told["mIoU"], told["Acc@GQA"])
    figures = spans.data["dense"]["mIoU"]
    assert ours["head"] == round(figures["score"], 1) != ours["mIoU"]
    gain = figures["score"] - figures["dense"]
    assert ours["gain"] == f"{gain:+.1f} ±{1.959964 * figures['error']:.1f}"


def videos(*names: str) -> list[Pixels]:
    """Make short videos of noise."""
    noise = torch.randint(0, 255, (4, 3, 32, 32), dtype=torch.uint8)
    return [Pixels(name, noise, np.arange(4.0), 4.0) for name in names]


def test_missing_videos_are_told() -> None:
    model = TinyModel()
    data = Dataset("set", tuple(Captioned(n, n, f"a {n}") for n in ("a", "b", "c")))
    report = evaluate_files(model, {"dense": Dense(model.tower)}, data, videos("a", "c"))
    assert "2 videos, 1 of the annotated ones missing" in report.notes[0]
    with pytest.raises(NotFoundError, match="none of the 3 videos of set was found"):
        evaluate_files(model, {"dense": Dense(model.tower)}, data, videos("x"))


def test_no_strategy_is_refused() -> None:
    with pytest.raises(UsageError, match="no strategy"):
        encode_by_all({}, [], streams=1)


def test_thinning_keeps_both_ends() -> None:
    (video,) = videos("a")
    thin = at_most(video, 2)
    assert thin.seconds.tolist() == [0, 3]
    assert at_most(video, 4) is video


def test_files_are_found_by_their_stem(tmp_path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.mp4", "deep/a.mkv", "c.txt"):
        (tmp_path / name).touch()
    found = dict(find_videos(tmp_path, ["a", "b", "z"]))
    assert found == {"a": tmp_path / "deep/a.mkv", "b": tmp_path / "b.mp4"}
