"""`models`, and what doctor and `spaces ls` know of a model that was checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.about import about
from api.config import ServerSettings
from engine.session import Engine
from tests.api.conftest import Made
from tests.checkpoints import tiny_clip


def test_what_a_model_tells_apart_is_listed(cli: Callable[..., Any]) -> None:
    known = json.loads(cli("models", "labels", "detector", "--json").out)
    assert (len(known["labels"]), known["words"]["red"]) == (144, 12)
    assert "bouncing" in cli("models", "labels", "action").text


def test_a_checked_model_is_known_by_its_card(
    cli: Callable[..., Any], made: Made, tmp_path: Path
) -> None:
    folder, data = tiny_clip(tmp_path / "tiny"), tmp_path / "data"
    looked = cli("doctor", "--data", data, "--model", folder, "--device", "cpu", "--json")
    known = json.loads(looked.out)[-1]
    assert known["state"] == "note"
    assert known["mend"] == f"dejavu-engine models check {folder}"
    small = ("--most", 1, "--frames", 3, "--device", "cpu", "--data", data)
    ran = cli("models", "check", folder, "--videos", made.clips, *small, "--json")
    assert ran.code == 0, ran.err
    card = json.loads(ran.out)
    path = data / "cards" / f"{card['space']}.json"
    assert Path(card["card"]) == path
    assert json.loads(path.read_text())["difference"]["image"] < 1e-5
    assert f"# {folder}\n" in path.with_suffix(".md").read_text()
    looked = cli("doctor", "--data", data, "--model", folder, "--device", "cpu", "--json")
    known = json.loads(looked.out)[-1]
    assert known["state"] == "good"
    assert f"checked {card['checked_at']}, card {path}" in known["found"]
    listed = json.loads(cli("models", "ls", "--data", data, "--json").out)
    assert [each["space"] for each in listed["checked"]] == [card["space"]]
    assert listed["builtin"]["size_bytes"] > 14 << 20
    listed = cli("models", "ls", "--data", data).text
    assert f"{folder}" in listed
    assert f"{card['times']['dense_ms']:.1f} ms a frame" in " ".join(listed.split())
    page = tmp_path / "page.html"
    asked = ("--model", folder, "--device", "cpu", "--data", data, "--budget-seconds", 1)
    first = min(path for path in made.clips.iterdir() if path.suffix == ".mp4")
    assert cli("ingest", first, *asked[:6], "--strategy", "dense").code == 0
    assert cli("query", "a dog", "--html", page, *asked).code == 0
    written = page.read_text()
    assert card["checked_at"] in written
    assert "pictures of 32 pixels, texts up to 12 tokens" in written
    with Engine.open(data, str(folder), "cpu") as engine:
        told = about(engine, ServerSettings(), "write").model.checked
        assert told is not None
        assert told.checked_at == card["checked_at"]
        assert any("largest difference from transformers' own" in line for line in told.lines)
        path.write_text("[]")
        hurt = about(engine, ServerSettings(), "write").model.checked
        assert hurt is not None
        assert "is no model's card" in hurt.lines[0]
        path.write_text(json.dumps({k: v for k, v in card.items() if k != "card"}))
    with Engine.open(data, str(folder), "cpu") as engine:
        assert engine.space == card["space"]
    listed = json.loads(cli("spaces", "ls", "--data", data, "--json").out)
    assert listed["cards"] == {card["space"]: str(path)}
    assert path.with_suffix(".md").name in cli("spaces", "ls", "--data", data).text
    assert cli("store", "check", "--data", data).code == 0
    cli("store", "backup", "--data", data, tmp_path / "backup")
    assert (tmp_path / "backup" / "cards" / path.name).read_bytes() == path.read_bytes()


def test_a_model_that_fails_leaves_no_card(cli: Callable[..., Any], tmp_path: Path) -> None:
    folder = tiny_clip(tmp_path / "tiny")
    (folder / "model.safetensors").rename(folder / "weights.pt")
    ran = cli("models", "check", folder, "--data", tmp_path / "data")
    assert ran.code == 1
    assert "found weights.pt; allowed: safetensors only" in ran.err
    assert not (tmp_path / "data").exists()
    path = tmp_path / "data" / "cards" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"format": "another"}')
    ran = cli("models", "ls", "--data", tmp_path / "data")
    assert ran.code == 1
    assert "x.json: format 'another'; allowed: dejavu-model-card-1" in ran.err
