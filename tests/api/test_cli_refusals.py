"""What cannot be meant is refused in a line, before anything is rendered or encoded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.vision.backbone.locate import BUILTIN

GATE = BUILTIN / "earlygate.safetensors"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("bench strategies --read {text}", 2, "is no comparison; allowed: what --out wrote"),
        ("bench strategies --read {json}", 2, "is no comparison; allowed: what --out wrote"),
        ("train grounding --steps 0 --out {out}", 2, "--steps"),
        ("train sequence --rate -1 --out {out}", 2, "--rate"),
        ("train answers --batch 0 --out {out}", 2, "--batch"),
        ("train answers --start {gate} --out {out}", 1, "is no answering head"),
        ("eval all --clips 2 --span-head {gate}", 1, "is no span head; train one with"),
        ("sql SELECT($t) --param t=1 --param t=2", 2, "--param t is given twice; allowed: one"),
        ("eval all --clips 2 --videos {out}", 2, "--videos is of videos in files"),
        ("eval all --clips 2 --fps 3", 2, "--fps is of videos in files"),
        ("eval all --dataset nextq", 2, "nextqa"),
        ("eval how2qa --videos {out} --annotations {text} --spans {json}", 2, "has no spans"),
        ("eval all --clips 2 --strategy tome --option r=many", 2, "option r of tome is 'many'"),
    ],
)
def test_it_is_said_in_a_line(
    cli: Callable[..., Any], tmp_path: Path, command: str, code: int, said: str
) -> None:
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "a.json").write_text('{"data": {"points": 3}}')
    places = {"text": tmp_path / "a.txt", "json": tmp_path / "a.json", "gate": GATE}
    ran = cli(*command.format(**places, out=tmp_path / "out").split(), "--device", "cpu")
    assert ran.code == code
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
