"""Published files of torch's own: tensors by name, or one line that says what is wrong."""

import io
import random
from pathlib import Path

import pytest
import torch

from engine.errors import ModelError
from engine.vision.backbone.published import read_published


def test_tensors_are_read_by_name_out_of_what_wraps_them(tmp_path: Path) -> None:
    one = torch.arange(3.0)
    torch.save({"epoch": 3, "module": {"model": {"a": one, "note": "x"}}}, tmp_path / "a.pt")
    found = read_published(tmp_path / "a.pt", ("module", "model"))
    assert list(found) == ["a"]
    assert torch.equal(found["a"], one)
    with pytest.raises(ModelError, match="holds no tensors by name"):
        read_published(tmp_path / "a.pt")


def test_other_bytes_are_refused_in_a_line(tmp_path: Path) -> None:
    drawn, stored = random.Random(0), io.BytesIO()
    torch.save({"a": torch.ones(5)}, stored)
    whole = stored.getvalue()
    others = [b"", b"hello\n", b"{}", b"\x80\x02.", b"\x80\x02}q\x00.", b"(lp0\n.", whole[:-40]]
    others += [drawn.randbytes(drawn.randrange(1, 60)) for _ in range(200)]
    path = tmp_path / "b.pt"
    for data in others:
        path.write_bytes(data)
        with pytest.raises(ModelError, match=f"^{path}: ") as refused:
            read_published(path)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 300 + len(str(path))
    for missing in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(ModelError, match="cannot be read as a checkpoint"):
            read_published(missing)
