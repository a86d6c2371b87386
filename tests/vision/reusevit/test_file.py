"""Slim and full files, their backbone, and the published names."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.errors import ModelError
from engine.vision.reusevit.file import (
    Card,
    load_parts,
    load_tower,
    read_checkpoint,
    rebuild,
    save_parts,
    slim,
)
from engine.vision.reusevit.parts import ReuseParts
from engine.vision.reusevit.published import import_published


def saved(small: Any, path: Path) -> ReuseParts:
    parts = small.parts()
    save_parts(path, parts, Card(parts.config, "tiny", "abc", 0.85, 8, {"drift": 0.01}))
    return parts


def same(a: ReuseParts, b: ReuseParts) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in a.state_dict().items())


def test_what_is_saved_is_loaded(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "parts.safetensors"
    parts = saved(small, path)
    loaded = load_parts(path, small.config(), weight_hash="abc")
    assert same(loaded.parts, parts)
    assert loaded.card == Card(parts.config, "tiny", "abc", 0.85, 8, {"drift": 0.01})


def test_another_backbone_is_refused(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "parts.safetensors"
    saved(small, path)
    with pytest.raises(ModelError, match="tiny with weights abc, given weights unknown"):
        load_parts(path, small.config(), weight_hash="")
    with pytest.raises(ModelError, match="gates"):
        load_parts(path, small.config(layers=3), weight_hash="abc")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_checkpoint(tmp_path / "missing.safetensors")


def test_a_full_file_carries_its_tower_and_slims_back(small: Any, tmp_path: Path) -> None:
    path, full, back = (tmp_path / f"{name}.safetensors" for name in ("slim", "full", "back"))
    saved(small, path)
    tower = small.tower()
    rebuild(path, tower, full, weight_hash="abc")
    carried = load_tower(full, small.config())
    assert all(
        torch.equal(a, b) for a, b in zip(carried.parameters(), tower.parameters(), strict=True)
    )
    assert same(
        load_parts(full, small.config(), weight_hash="abc").parts,
        load_parts(path, small.config(), weight_hash="abc").parts,
    )
    slim(full, back)
    assert read_checkpoint(back)[0] == read_checkpoint(path)[0]
    assert read_checkpoint(back)[1].keys() == read_checkpoint(path)[1].keys()
    with pytest.raises(ModelError, match="slim"):
        load_tower(path, small.config())


def published(parts: ReuseParts) -> dict[str, Tensor]:
    """The same parts under the names of the published training code, one layer later."""
    named: dict[str, Tensor] = {"model.vision_model.post_layernorm.weight": torch.ones(3)}
    own = parts.state_dict()
    narrow = parts.config.narrow
    for gate in range(len(parts.gates)):
        prefix = f"model.model.vision_model.encoder.layers.{gate + 1}.reuse_module."
        for ours, theirs in ((0, "1.0"), (3, "2.0")):
            for suffix in ("weight", "bias"):
                value = own[f"gates.{gate}.decision.net.{ours}.{suffix}"]
                named[f"{prefix}decision.blocks.{theirs}.{suffix}"] = value
        for which, letter in enumerate("hqkv"):
            down = own[f"gates.{gate}.restoration.down"][which * narrow : (which + 1) * narrow]
            named[f"{prefix}restoration.{letter}_mlp.0.weight"] = down
            up = own[f"gates.{gate}.restoration.up"][which].T
            named[f"{prefix}restoration.{letter}_mlp.3.weight"] = up
    unused = "model.model.vision_model.encoder.layers.0.reuse_module.decision.blocks.1.0.weight"
    named[unused] = torch.zeros(160, 6)
    for name, value in own.items():
        if name.startswith("codec."):
            theirs = value.unsqueeze(2) if value.ndim == 4 else value  # three-dimensional there
            named[f"model.blobnet.{name.removeprefix('codec.')}"] = theirs
    return named


def test_published_names_are_mapped_one_layer_down(small: Any, tmp_path: Path) -> None:
    parts = small.parts()
    path = tmp_path / "published.ckpt"
    torch.save({"state_dict": published(parts), "epoch": 3}, path)
    fresh = ReuseParts(small.config(), parts.config)
    found = import_published(path, fresh)
    assert same(fresh, parts)
    assert found.missing == ()
    assert len(found.unused) == 2
    assert any("layers.0." in name for name in found.unused)


def test_missing_names_are_told(small: Any, tmp_path: Path) -> None:
    named = published(small.parts())
    dropped = [name for name in named if "layers.2" in name and "q_mlp" not in name]
    path = tmp_path / "published.ckpt"
    torch.save({name: value for name, value in named.items() if name not in dropped}, path)
    found = import_published(path, small.parts())
    assert {name.split(".")[1] for name in found.missing} == {"1"}
    (tmp_path / "bad.ckpt").write_bytes(b"x")
    with pytest.raises(ModelError, match="cannot be read"):
        import_published(tmp_path / "bad.ckpt", small.parts())
