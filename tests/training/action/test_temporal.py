"""The temporal half of a factorised ViViT fine-tuned on features that are kept, or are not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine.errors import UsageError
from engine.training.action.temporal import TemporalTraining, train_temporal
from engine.vision.action import load_action_model
from engine.vision.backbone.factorised import FactorisedConfig, FactorisedTower, spatial_shape
from engine.vision.backbone.factorised_files import export_factorised


@pytest.fixture
def training(tmp_path: Path) -> TemporalTraining:
    made = FactorisedTower(FactorisedConfig(spatial_shape(2, 32, 2, 64, 8, 2, 32), 8, 1, 3))
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2, generator=generator)
    export_factorised(made, ("a", "b", "c"), 4.0, tmp_path / "model")
    return TemporalTraining(
        str(tmp_path / "model"), str(tmp_path / "out"), clips=20, held=9, batch=8, rounds=2,
        keep=0.4, every=2, workers=0,
    )  # fmt: skip


def test_with_kept_features_the_same_comes_out(training: TemporalTraining, tmp_path: Path) -> None:
    """Computed anew in every round, kept, and read back: bit for bit the same weights."""
    cache = str(tmp_path / "features.safetensors")
    outs = [tmp_path / name for name in ("anew", "kept", "read")]
    for out, where in zip(outs, (None, cache, cache), strict=True):
        train_temporal(replace(training, out=str(out), cache=where))
    before = load_file(tmp_path / "model" / "model.safetensors")
    anew, *others = (load_file(out / "model.safetensors") for out in outs)
    for name, tensor in anew.items():
        for other in others:
            assert torch.equal(other[name], tensor), name
        if name.startswith("spatial."):
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(anew["temporal.position"], before["temporal.position"])
    model = load_action_model(str(outs[0]), device="cpu")
    assert len(model.labels) == 9
    with pytest.raises(UsageError, match="features of other clips, weights or pruning"):
        train_temporal(replace(training, cache=cache, keep=0.6))


def test_a_model_without_a_temporal_half_is_refused(training: TemporalTraining) -> None:
    with pytest.raises(UsageError, match=r"no temporal half; allowed: .* vivit_factorised"):
        train_temporal(replace(training, model="builtin"))
    with pytest.raises(UsageError, match="rounds 0; allowed: 1 or more"):
        replace(training, rounds=0)
