"""`checkpoint`, as the shell would run it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def test_an_import_that_is_not_whole_writes_nothing(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = tmp_path / "last.ckpt", tmp_path / "parts.safetensors"
    torch.save({"state_dict": {"net.blobnet.decoder.final.bias": torch.zeros(1)}}, source)
    ran = cli("checkpoint", "import", source, target, "--model", "builtin")
    assert ran.code == 1
    assert "published tensors are missing" in ran.err
    assert not target.exists()
