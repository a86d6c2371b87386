"""`plot` draws what was measured, and says in a line what it cannot draw."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAIRED = {"score": 50.0, "dense": 50.0, "error": 0.5, "loss": 0.01, "low": 0, "high": 0.02}
TASKS = {name: PAIRED | {"items": 90} for name in ("retrieval", "answers", "grounded")}
RANKED = {"recall_at_1": 90.0, "num_queries": 40}


def point(family: str, macs: float, **more: Any) -> dict[str, Any]:
    cost = {"family": family, "value": "", "reuse": 1 - macs, "macs": macs, "seconds": macs}
    found = {"drift": 0.01, "p5": 0.9, "worst": 0.8, "tasks": TASKS}
    return cost | found | {"cpu": macs, "errors": {"cpu": 0.01}} | more


def comparison(*points: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"title": "The world", "notes": ["three clips"], "points": points}}


def scored(strategy: str, macs: float, recall: float = 90.0) -> dict[str, Any]:
    ranked = RANKED | {"recall_at_1": recall}
    found = {"strategy": strategy, "macs_per_frame": macs, "text_to_video": ranked}
    return found | {"accuracy": None, "grounding": None}


def evaluation(*scores: dict[str, Any]) -> dict[str, Any]:
    return {"title": "world", "data": {"scores": scores}}


DENSE, GATE = scored("dense", 4.0), scored("earlygate", 1.0)


def test_a_comparison_becomes_a_picture_and_a_table(cli: Callable[..., Any], tmp_path: Path):
    told = comparison(point("dense", 1.0), point("gate trained", 0.25))
    (tmp_path / "a.json").write_text(json.dumps(told))
    ran = cli("plot", tmp_path / "a.json", "--picture", tmp_path / "a.png")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    table = (tmp_path / "a.md").read_text()
    assert table in ran.out.decode()
    assert "| gate trained | 4.00 | 4.00 ± 0.31 | 0.0100 | +1.0 ± 1.0 |" in table


def test_one_evaluation_given_twice_is_drawn_once(cli: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(evaluation(DENSE, GATE)))
    ran = cli("plot", *2 * [tmp_path / "a.json"], "--picture", tmp_path / "a.svg", "--json")
    assert [each["strategy"] for each in json.loads(ran.out)["points"]] == ["dense", "earlygate"]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([], "not what `eval --out` writes"),
        ({"rows": [3]}, "not what `eval --out` writes"),
        ({"rows": {"way": 1}}, "not what `eval --out` writes"),
        (evaluation(), "not what `eval --out` writes"),
        (evaluation(GATE), "dense first"),
        (evaluation(DENSE, {**GATE, "text_to_video": None}), "all on one's tasks"),
        (evaluation(DENSE, {**GATE, "macs_per_frame": 0}), "not what `eval --out` writes"),
        (evaluation({**DENSE, "text_to_video": None}), "nothing to draw"),
        (evaluation({**DENSE, "text_to_video": RANKED | {"num_queries": 0}}), "nothing to draw"),
        (comparison(), "is no comparison"),
        (comparison(point("gate trained", 0.5)), "is no comparison"),
        (comparison(point("dense", 1.0, tasks=3)), "is no comparison"),
        (comparison(point("dense", 1.0, tasks={})), "neither tasks nor agreement"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    cli: Callable[..., Any], tmp_path: Path, told: Any, said: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(told))
    ran = cli("plot", tmp_path / "a.json", "--picture", tmp_path / "a.png")
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("picture", ["a.gif", "a", "."])
def test_a_picture_is_of_a_known_kind(
    cli: Callable[..., Any], tmp_path: Path, picture: str
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(evaluation(DENSE, GATE)))
    ran = cli("plot", tmp_path / "a.json", "--picture", tmp_path / picture)
    assert ran.code == 2
    assert len(ran.err.strip().splitlines()) == 1


def test_dense_of_another_model_is_refused(cli: Callable[..., Any], tmp_path: Path) -> None:
    for name, recall in (("a", 90.0), ("b", 80.0)):
        told = evaluation(scored("dense", 4.0, recall), GATE)
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    ran = cli("plot", tmp_path / "a.json", tmp_path / "b.json", "--picture", tmp_path / "a.png")
    assert ran.code == 2
    assert "dense scores otherwise" in ran.err
