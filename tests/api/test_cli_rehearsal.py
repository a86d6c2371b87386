"""The pipeline of the paper as commands, on made-up sets in the official formats."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from engine.evaluation.datasets.how2qa import load_how2qa
from engine.evaluation.datasets.msrvtt import load_msrvtt
from engine.evaluation.datasets.nextqa import load_nextqa
from engine.evaluation.tradeoff import interval
from tests.api.conftest import Ran

Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rehearsal")


@pytest.fixture
def say(cli: Cli) -> Callable[..., dict]:
    """Run a command that must succeed, and return what it says as JSON."""

    def run(*arguments: object) -> dict:
        ran = cli(*arguments, "--json")
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    return run


def test_made_up_sets_are_in_the_official_formats(say, folder: Path) -> None:
    files = say("dataset", "rehearse", folder, "--clips", "2", "--seconds", "19", "--shape", "tiny")
    videos = sorted(path.stem for path in (folder / "videos").iterdir())
    grounded = load_nextqa(Path(files["nextgqa"]), grounding=Path(files["spans"]))
    plain, told = load_nextqa(Path(files["nextqa"])), load_how2qa(Path(files["how2qa"]))
    captions = load_msrvtt(Path(files["msrvtt"]))
    for data in (grounded, plain, told, captions):
        assert sorted(data.videos) == videos
    assert all(question.spans and len(question.choices) == 5 for question in grounded.questions)
    for ours, theirs in zip(plain.questions, told.questions, strict=True):
        assert ours.text == theirs.text
        assert ours.choices[ours.answer] == theirs.choices[theirs.answer]
        assert set(theirs.choices) == set(ours.choices[:4])


def test_their_headers_are_those_of_the_real_files(folder: Path, real_data: Path) -> None:
    for name in ("nextqa/val.csv", "msrvtt/MSRVTT_JSFUSION_test.csv"):
        real, own = (
            path.read_text().splitlines()[0]
            for path in (real_data / "annotations" / name, folder / name)
        )
        assert real == own


def test_from_files_to_a_picture(say, cli: Cli, folder: Path) -> None:
    if not (folder / "videos").exists():
        say("dataset", "rehearse", folder, "--clips", "2", "--seconds", "19", "--shape", "tiny")
    model, prepared, asked = folder / "model", folder / "prepared", folder / "nextqa/val.csv"
    make = ("dataset", "prepare", "nextqa", folder / "videos", "--annotations", asked)
    for outcome in ("prepared", "known"):  # a second run makes nothing anew
        report = say(*make, "--target", prepared, "--side", "64")
        assert [row["outcome"] for row in report["rows"]] == [outcome]
    features = folder / "features"
    say("dataset", "extract", prepared, "--target", features, "--kind", "cues", "--model", model)
    assert {load_file(path)["cues"].shape for path in features.iterdir()} == {(38, 4, 4, 4)}
    trained = ("train", "reuse", "--model", model, "--videos", prepared, "--cue", "codec")
    rates = ("--target", "0.3", "--target", "0.9")
    rest = ("--narrow", "0", "--epochs", "0", "--batch", "1", "--out", folder / "reuse")
    results = say(*trained, *rates, *rest)["results"]
    reached = [results[rate]["reuse"] for rate in ("0.3", "0.9")]
    assert reached[0] < reached[1]
    given = ("--videos", prepared, "--annotations", asked, "--fps", "2", "--model", model)
    written = []
    for rate in ("0.3", "0.9"):
        parts = folder / f"reuse/{rate}/reusevit-{rate}.safetensors"
        written.append(folder / f"eval-{rate}.json")
        say("eval", "nextqa", *given, "--strategy", "reusevit", "--parts", parts,
            "--strategy", "tome", "--option", "tome.r=2", "--out", written[-1])  # fmt: skip
    picture = folder / "nextqa.png"
    drawn = say("plot", *written, "--picture", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    points = drawn["points"]
    # what two evaluations say alike is one point
    assert [each["strategy"] for each in points] == ["dense", "reusevit", "tome", "reusevit"]
    reductions = [each["reduction"] for each in points if each["strategy"] == "reusevit"]
    assert reductions[0] < reductions[1]
    scores = json.loads(written[0].read_text())["data"]["scores"]
    assert points[0]["scores"] == {
        "multiple choice": [scores[0]["accuracy"], scores[0]["num_questions"]]
    }
    other = folder / "other.json"
    other.write_text(written[0].read_text().replace('"title": "nextqa"', '"title": "how2qa"'))
    ran = cli("plot", written[0], other)
    assert (ran.code, "allowed: evaluations of the same" in ran.err) == (2, True)
    ran = cli("plot", asked)
    assert (ran.code, "not what `eval --out` writes" in ran.err) == (2, True)


def test_intervals_of_shares_hold_the_share_as_often_as_they_say() -> None:
    draws = np.random.default_rng(0).binomial(400, 0.2, 4000)
    limits = [interval(count / 4, 400) for count in range(401)]
    held = np.mean([limits[count][0] <= 20 <= limits[count][1] for count in draws])
    assert 0.94 < held < 0.96
    assert limits[0][0] == pytest.approx(0)
    assert limits[400][1] == pytest.approx(100)
