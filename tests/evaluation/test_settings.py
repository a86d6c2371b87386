"""Strategies to be judged: other methods at several settings, and by name with their parts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.errors import UsageError
from engine.evaluation.compare import Comparison, Setting, encode_settings, natural_points
from engine.evaluation.encodings import Pixels
from engine.evaluation.settings import (
    chosen_settings,
    named_strategies,
    plain_settings,
    published_settings,
)
from engine.evaluation.tables import tabulate_comparison
from engine.vision.backbone.locate import BUILTIN
from engine.vision.earlygate.strategy import EarlyGate
from engine.vision.model import load_model
from engine.vision.registry import build_strategy, options_of, read_options
from engine.vision.reusevit.build import shipped_targets
from engine.vision.reusevit.file import load_modules
from engine.vision.reusevit.strategy import ReuseViT
from engine.vision.streaming.strategy import Chunk


def test_other_methods_are_compared_with_intervals(small, tmp_path: Path) -> None:
    tower, frames = small.tower(), small.frames(3, 6)
    rates = tmp_path / "rates.json"
    lists = {"prune_kept_num": [17, 14, 12, 9], "merge_kept_num": [17, 12, 9, 5]}
    rates.write_text(json.dumps({"tiny": {"0.5": lists}}))
    with pytest.raises(UsageError, match="needs the model's name"):
        published_settings(tower, rates)
    settings = [Setting("dense", "", build_strategy("dense", tower))]
    settings += published_settings(tower, rates, "tiny")
    seconds = torch.arange(6).double().numpy()
    videos = [Pixels(str(at), each, seconds, 6.0) for at, each in enumerate(frames)]
    found = encode_settings(settings, iter(videos), torch.device("cpu"), streams=2)
    points = list(natural_points(settings, found, torch.rand(5, 16)))
    families = {point.family for point in points}
    assert families == {
        *("dense", "diffrate", "tome", "eventful", "eventful_emulated", "cmc_emulated"),
        *("runlength", "rgtp"),
    }
    for family in families - {"dense"}:
        costs = [point.macs for point in points if point.family == family]
        assert costs == sorted(costs, reverse=True)
    assert points[0].errors == dict.fromkeys(("macs", "seconds", "cpu", "nearest", "top1"), 0)
    assert any(point.errors["macs"] > 0 for point in points)
    assert any(point.errors["nearest"] > 0 for point in points)
    comparison = Comparison("Toy", (), points)
    assert Comparison.from_json(json.loads(json.dumps(comparison_data(comparison)))) == comparison
    report = tabulate_comparison(replace(comparison, points=points[:1]))
    assert report.rows[0][-2:] == ["100.0 ± 0.0", "100.0 ± 0.0"]


def comparison_data(comparison: Comparison) -> object:
    """What is written of a comparison."""
    return tabulate_comparison(comparison).as_dict()["data"]


def test_parts_and_options_reach_the_strategies_named(tmp_path: Path) -> None:
    model = load_model(device="cpu")
    target = shipped_targets()[-1]
    mine = tmp_path / "mine.safetensors"
    shutil.copy(BUILTIN / f"reusevit-{target}.safetensors", mine)
    judged = named_strategies(
        model.tower, model.space, ["reusevit", "earlygate"], parts=mine, options={"refresh": 7}
    )
    assert list(judged) == ["dense", "reusevit", "earlygate"]
    reuse, gate = judged["reusevit"], judged["earlygate"]
    assert isinstance(reuse, ReuseViT)
    assert isinstance(gate, EarlyGate)
    assert reuse.schedule.refresh == gate.schedule.refresh == 7
    weights = load_modules(mine, model.tower.config, weight_hash=model.space.weight_hash).modules
    ours = reuse.modules.state_dict()
    assert all(torch.equal(ours[name], each) for name, each in weights.state_dict().items())
    other = named_strategies(model.tower, model.space, ["reusevit"], options={"target": target})
    default = named_strategies(model.tower, model.space, ["dense", "reusevit"])
    for strategy, same in ((other["reusevit"], True), (default["reusevit"], False)):
        assert isinstance(strategy, ReuseViT)
        theirs = strategy.modules.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours) is same
    with pytest.raises(UsageError, match="parts of reusevit, which is not among"):
        named_strategies(model.tower, model.space, ["earlygate"], parts=mine)
    with pytest.raises(UsageError, match="unknown option of interpolate 'refresh'"):
        named_strategies(model.tower, model.space, ["interpolate"], options={"refresh": 7})


def test_options_are_read_from_text_and_go_to_whom_they_name() -> None:
    found = read_options(["tome.r=8", "products=false", "rates=lists.json", "counts=[[9,7],[5,5]]"])
    assert found == {
        "tome.r": 8, "products": False, "rates": "lists.json", "counts": [[9, 7], [5, 5]],
    }  # fmt: skip
    assert options_of("tome", {"tome.r": 8, "eventful.r": 5, "batch": 2}) == {"r": 8, "batch": 2}
    for given, why in ((["r"], "options are NAME=VALUE"), (["r=1", "r=2"], "given twice")):
        with pytest.raises(UsageError, match=why):
            read_options(given)


def test_options_are_for_one_of_several(small) -> None:
    given = {"tome.r": 2, "eventful.r": 5}
    judged = named_strategies(small.tower(), None, ["tome", "eventful"], options=given)
    assert [each.name for each in judged.values()] == ["dense", "tome", "eventful"]
    with pytest.raises(UsageError, match=r"unknown strategy of the option eventful\.r"):
        named_strategies(small.tower(), None, ["tome"], options=given)


def test_shipped_targets_are_numbers() -> None:
    model = load_model(device="cpu")
    for target in (0.8, "0.80"):
        build_strategy("reusevit", model.tower, space=model.space, options={"target": target})
    with pytest.raises(UsageError, match=r"unknown target '0\.81'"):
        build_strategy("reusevit", model.tower, space=model.space, options={"target": 0.81})


def test_settings_are_chosen_by_family_or_label(small) -> None:
    settings = plain_settings(small.tower())
    chosen = chosen_settings(settings, ["bridge alone", "interpolate 3"])
    assert {each.family for each in chosen} == {"dense", "bridge alone", "interpolate"}
    assert [each.label for each in chosen if each.family == "interpolate"] == ["interpolate 3"]
    said = r"unknown family or setting 'bridge'; allowed: bridge alone, .* and \d+ more; nearest: "
    with pytest.raises(UsageError, match=said):
        chosen_settings(settings, ["bridge"])


def test_a_bridge_alone_computes_every_token_of_what_it_encodes(small) -> None:
    tower, frames = small.tower(), small.frames(1, 9, change=0.02)[0]
    [alone, *_] = chosen_settings(plain_settings(tower), ["bridge alone"])[1:]
    encoded = alone.strategy.encode([Chunk(frames, last=True)])[0]
    done = encoded.computed.float().mean(1)
    assert set(done.tolist()) == {0.0, 17.0}
    exact = build_strategy("dense", tower).encode([Chunk(frames, last=True)])[0].embeddings
    torch.testing.assert_close(encoded.embeddings[done > 0], exact[done > 0], rtol=1e-4, atol=1e-4)
