"""`transcripts` reads, lists and forgets; `query` shows what was said, and nothing as markup."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from fastapi.testclient import TestClient

from engine import Engine
from tests.api.conftest import Ran

Cli = Callable[..., Ran]
SRT = "1\n00:00:00,000 --> 00:00:01,000\n[bold]a yodelling parrot[/] <script>alert(1)</script>\n"
LINE = "[bold]a yodelling parrot[/] <script>alert(1)</script>"


def test_a_file_is_added_listed_found_and_forgotten(cli: Cli, data: Path, tmp_path: Path) -> None:
    place = ("--data", data)
    name = json.loads(cli("videos", "ls", "--json", *place).out)[0]["name"]
    file = tmp_path / "said.en.srt"
    file.write_text(SRT)
    added = cli("transcripts", "add", name, file, *place)
    assert added.text.strip() == f"{name}: 1 lines of said.en.srt (en)"
    [listed] = json.loads(cli("transcripts", "ls", "--json", *place).out)
    assert (listed["video"], listed["source"], listed["lines"]) == (name, "said.en.srt", 1)
    asked = ("query", "yodelling parrot", *place)
    first = json.loads(cli(*asked, "--json").out)["moments"]
    [said] = [moment for moment in first if "words" in moment["signals"]]
    assert (said["name"], said["line"]) == (name, LINE)
    [alone] = json.loads(cli(*asked, "--signal", "words", "--json").out)["moments"]
    assert alone["signals"] == ["words"]
    table = cli(*asked, "--signal", "words").text
    assert LINE in " ".join(table.split())
    rows = list(csv.DictReader(io.StringIO(cli(*asked, "--format", "csv").text)))
    assert {row["line"] for row in rows} >= {LINE}
    refused = cli(*asked, "--signal", "smell")
    assert "allowed: a list, each image, words" in refused.err
    assert "1 sources removed" in cli("transcripts", "rm", name, *place).text
    assert cli("transcripts", "rm", name, *place).code != 0
    assert json.loads(cli("transcripts", "ls", "--json", *place).out) == []


def test_stored_videos_are_scanned(cli: Cli, data: Path, made: object) -> None:
    place = ("--data", data)
    video = json.loads(cli("videos", "ls", "--json", *place).out)[0]
    assert "0 lines read" in cli("transcripts", "scan", *place).text
    refused = cli("transcripts", "add", video["name"], data / "gone.srt", *place)
    assert "no file" in refused.err


def test_http_names_the_signals(client: TestClient, own_engine: Engine) -> None:
    found = client.post("/query", json={"text": "a star", "signals": ["image"]}).json()
    assert {tuple(moment["signals"]) for moment in found["moments"]} == {("image",)}
    assert {moment["line"] for moment in found["moments"]} == {None}
    refused = client.post("/query", json={"text": "a star", "signals": ["smell"]})
    assert refused.status_code == 422
