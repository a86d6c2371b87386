"""`checkpoint`, as the shell would run it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from engine.vision.action import load_action_model
from tests.training.action.test_published import published, transformers_model


def test_an_import_that_is_not_whole_writes_nothing(
    cli: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = tmp_path / "last.ckpt", tmp_path / "parts.safetensors"
    torch.save({"state_dict": {"net.blobnet.decoder.final.bias": torch.zeros(1)}}, source)
    ran = cli("checkpoint", "import", source, target, "--model", "builtin")
    assert ran.code == 1
    assert "published tensors are missing" in ran.err
    assert not target.exists()


def test_the_command_writes_a_folder_that_is_read(tmp_path: Path, cli: Callable[..., Any]) -> None:
    model = transformers_model()
    torch.save(published(model), tmp_path / "a.pth")
    (tmp_path / "labels.txt").write_text("falling\nrising\nturning\n")
    where = ("--labels", tmp_path / "labels.txt", "--frames", 6, "--size", 32, "--fps", 5)
    ran = cli("checkpoint", "video", tmp_path / "a.pth", tmp_path / "out", *where)
    assert ran.code == 0, ran.err
    loaded = load_action_model(str(tmp_path / "out"), device="cpu")
    assert (loaded.labels, loaded.fps) == (("falling", "rising", "turning"), 5.0)
    clips = torch.randint(0, 256, (2, 6, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        exact = model(loaded.tower.normalise(clips)).logits.softmax(-1)
    torch.testing.assert_close(loaded.classify(clips), exact, rtol=0, atol=1e-5)
    (tmp_path / "labels.txt").write_text("falling\nrising\n")
    ran = cli("checkpoint", "video", tmp_path / "a.pth", tmp_path / "out", *where)
    assert ran.code != 0
    assert "2 labels; allowed: 3" in ran.err
