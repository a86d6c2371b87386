"""`eval` and `dataset prepare` on files: real videos by a dataset's own annotation file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.evaluation.bench.clips import write_moving
from tests.api.conftest import Ran

Cli = Callable[..., Ran]


@pytest.fixture
def annotated(tmp_path: Path) -> tuple[str, ...]:
    """Two videos of MSR-VTT's form, one of them not there."""
    folder, rows = tmp_path / "videos", ["key,vid_key,video_id,sentence"]
    folder.mkdir()
    write_moving(folder / "one.mp4", 3.0, size=(64, 96), fps=8)
    rows += [f'ret{at},msr{at},{name},"a {name}"' for at, name in enumerate(("one", "two"))]
    file = tmp_path / "test.csv"
    file.write_text("\n".join(rows) + "\n")
    return str(folder), str(file)


def test_a_dataset_is_prepared_and_judged(cli: Cli, annotated, tmp_path: Path) -> None:
    folder, file = annotated
    target = tmp_path / "made"
    arguments = ("dataset", "prepare", "msrvtt", folder, "--annotations", file)
    ran = cli(*arguments, "--target", str(target), "--side", "64", "--json")
    assert json.loads(ran.out)["data"]["videos"] == [
        {"name": "one", "outcome": "prepared"}, {"name": "two", "outcome": "missing"},
    ]  # fmt: skip
    given = ("--dataset", "msrvtt", "--videos", str(target), "--annotations", file)
    ran = cli("eval", "retrieval", *given, "--fps", "2", "--strategy", "tome",
              "--option", "r=8", "--json")  # fmt: skip
    report = json.loads(ran.out)
    assert [row["strategy"] for row in report["rows"]] == ["dense", "tome"]
    costs = report["more"][0]["rows"]
    assert costs[1]["MACs ×"] > 1.2
    ran = cli("eval", "retrieval", *given, "--strategy", "tome", "--option", "s=8")
    assert (ran.code, "unknown option of tome 's'" in ran.err) == (2, True)
