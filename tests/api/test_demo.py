"""The demo goes its whole way on a small world, and says where it is not as the script has it."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from api.cli.demo import STRATEGIES, Script, present

RIGHT = Script(1, 4.0, (0.9,), "a large checkered pink moon")  # there from 1.4 s on
WRONG = Script(7, 4.0, (0.9,), "a small checkered green drop")  # found when it is cyan, too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo leaves everything."""
    return tmp_path_factory.mktemp("demo")


def test_every_step_comes_out_as_the_script_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    present(RIGHT, folder, "cpu", as_json=True)
    said = capsys.readouterr()
    told: dict[str, Any] = json.loads(said.out)
    world = json.loads((folder / "videos" / "world.json").read_text())
    (clip,) = world["clips"]
    assert [video["name"] for video in told["ingest"]["videos"]] == ["test-1.mp4"]
    spans = [span for span in clip["spans"] if RIGHT.text in span["caption"]]
    best = told["query"]["moments"][0]
    assert best["name"] == "test-1.mp4"
    assert abs(best["start_seconds"] - spans[0]["start_seconds"]) <= 1
    assert abs(best["stop_seconds"] - spans[-1]["stop_seconds"]) <= 1
    assert told["query"]["coverage"]["complete"]
    assert told["sql"] == [
        {"name": "test-1.mp4", "frames": 8, "best": pytest.approx(best["score"], abs=1e-4)}
    ]
    question = next(each for each in clip["questions"] if each["kind"] == "colour")
    assert told["answer"]["text"] == question["choices"][question["answer"]]
    assert told["moment_is_right"] is told["answer_is_right"] is True
    assert told["happens"][0]["happens"] == "moving left"
    assert len({row["track"] for row in told["boxes"]}) == 1
    assert [row["label"] for row in told["boxes"]] == ["pink diamond"] * 6
    assert told["action_is_right"] is told["boxes_are_right"] is True
    assert said.err.count("✓") == 4
    assert "✗" not in said.err


def test_a_second_demo_measures_anew_and_what_is_wrong_ends_it_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        present(WRONG, folder, "cpu")
    assert ended.value.exit_code == 1
    told = capsys.readouterr().out
    assert told.count("✗ the script says: test-7, 0:00.0 – 0:02.6") == 1
    assert told.count("✓ the script ") == 3
    table = told.partition("strategy   encode s")[2].splitlines()[1:4]
    assert [row.split()[0] for row in table] == list(STRATEGIES)
    assert all(float(row.split()[1]) > 0 for row in table)
    assert sorted(path.name for path in folder.iterdir()) == ["motion", "store", "videos"]
