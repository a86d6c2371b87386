"""A trained network's file: whose it is and of what kind is checked before it is used."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.answering.head import KIND as ANSWERS
from engine.answering.span_head import KIND as SPANS
from engine.answering.span_head import SpanConfig, SpanHead
from engine.errors import ModelError
from engine.vision.backbone.locate import BUILTIN
from engine.vision.backbone.trained import NetworkKind, load_trained, save_trained

SMALL = SpanConfig(8, width=16, layers=1, heads=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Store a small head of model aaa…."""
    made = tmp_path / "head.safetensors"
    save_trained(made, SpanHead(SMALL), SMALL, SPANS, "a" * 20)
    return made


def load(path: Path, kind: NetworkKind = SPANS, weight_hash: str = "a" * 20) -> SpanHead:
    return load_trained(path, lambda told: SpanHead(SpanConfig(**told)), kind, weight_hash)


def test_what_was_stored_is_read_and_cannot_learn(path: Path) -> None:
    head = load(path)
    assert head.config == SMALL
    assert not head.training
    assert not any(each.requires_grad for each in head.parameters())
    stored = load_file(path)
    assert stored.keys() == head.state_dict().keys()
    assert all(torch.equal(stored[name], each) for name, each in head.state_dict().items())


def test_a_file_of_another_kind_or_model_is_refused(path: Path) -> None:
    with pytest.raises(ModelError, match=r"head\S+ is no answering head; train one with"):
        load(path, ANSWERS)
    with pytest.raises(ModelError, match=r"of model a{12}, not of b{12}; .* train grounding`"):
        load(path, weight_hash="b" * 20)
    shipped = BUILTIN / "answers.safetensors"  # of before a file said its kind
    with pytest.raises(ModelError, match="is no span head"):
        load(shipped)
    with pytest.raises(ModelError, match=r"answers\S+ reads vectors of model"):
        load(shipped, ANSWERS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dimension": 8, "width": 16, "layers": 2, "heads": 2}, "Missing key"),
        ({"dimension": 8, "depth": 3}, "unexpected keyword argument 'depth'"),
        (None, "is no span head"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_line(
    path: Path, config: dict[str, int] | None, said: str
) -> None:
    meta = {"kind": SPANS.name, "weight_hash": "a" * 20}
    meta |= {} if config is None else {"config": json.dumps(config)}
    save_file({name: torch.zeros(2) for name in ("a", "b")}, path, metadata=meta)
    with pytest.raises(ModelError, match=said) as refused:
        load(path)
    assert "\n" not in str(refused.value)


def test_what_is_no_such_file_cannot_be_read(path: Path) -> None:
    path.write_bytes(b"no")
    for each in (path, path.with_name("none.safetensors")):
        with pytest.raises(ModelError, match=r"span head .* cannot be read"):
            load(each)
