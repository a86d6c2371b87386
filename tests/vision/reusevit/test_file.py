"""Slim and full files, and their backbone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import ModelError
from engine.vision.reusevit.file import (
    Card,
    load_modules,
    read_checkpoint,
    rebuild,
    save_modules,
    slim,
)
from engine.vision.reusevit.modules import ReuseModules


def saved(small: Any, path: Path) -> ReuseModules:
    modules = small.modules()
    save_modules(path, modules, Card(modules.config, "tiny", "abc", 0.85, 8, {"drift": 0.01}))
    return modules


def same(a: ReuseModules, b: ReuseModules) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in a.state_dict().items())


def test_what_is_saved_is_loaded(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "modules.safetensors"
    modules = saved(small, path)
    loaded = load_modules(path, small.config(), weight_hash="abc")
    assert same(loaded.modules, modules)
    assert loaded.card == Card(modules.config, "tiny", "abc", 0.85, 8, {"drift": 0.01})


def test_another_backbone_is_refused(small: Any, tmp_path: Path) -> None:
    path = tmp_path / "modules.safetensors"
    saved(small, path)
    with pytest.raises(ModelError, match="tiny with weights abc, given weights unknown"):
        load_modules(path, small.config(), weight_hash="")
    with pytest.raises(ModelError, match="gates"):
        load_modules(path, small.config(layers=3), weight_hash="abc")


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
    _, carried = read_checkpoint(full)
    for name, value in tower.state_dict().items():
        assert torch.equal(carried[f"tower.{name}"], value)
    assert same(
        load_modules(full, small.config(), weight_hash="abc").modules,
        load_modules(path, small.config(), weight_hash="abc").modules,
    )
    slim(full, back)
    assert read_checkpoint(back)[0] == read_checkpoint(path)[0]
    assert read_checkpoint(back)[1].keys() == read_checkpoint(path)[1].keys()
