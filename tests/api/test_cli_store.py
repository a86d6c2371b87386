"""`store`, `spaces rm` and the commands that read beside a writer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.storage.store import Store
from engine.storage.verify import StoreProblem
from engine.video.container import probe
from tests.api.conftest import Made, Ran
from tests.api.test_cli import Cli


def damage(data: Path, flipped: int = 300) -> Path:
    part = min((data / "parts").rglob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[flipped] ^= 1
    part.write_bytes(content)
    for index in (data / "indexes").rglob("*.faiss"):  # else its vectors, which are whole, are used
        index.unlink()
    return part


def test_reading_beside_a_writer(cli: Cli, data: Path) -> None:
    with Store.open(data):
        for command in (
            ("videos", "ls"),
            ("videos", "show", "one.mp4"),
            ("videos", "verify"),
            ("index", "status"),
            ("spaces", "ls"),
            ("jobs", "ls"),
            ("query", "a star"),
            ("sql", "SELECT count(*) AS n FROM frames"),
            ("store", "check"),
            ("doctor",),
        ):
            ran = (
                cli(*command, "--data", data, "--json")
                if command[0] != "sql"
                else cli(*command, "--data", data, "--format", "json")
            )
            assert ran.code == 0, (command, ran.err)
            assert ("published last" in ran.err) == (command != ("doctor",)), command
            json.loads(ran.out)
        refused = cli("videos", "rm", "one.mp4", "--data", data)
        assert refused.code == 1
        assert "in use by process" in refused.err


def test_a_damaged_part_is_found_left_out_and_healed(cli: Cli, data: Path, made: Made) -> None:
    damage(data)
    checked = cli("store", "check", "--data", data, "--json")
    assert checked.code == 1
    kinds = {problem["kind"] for problem in json.loads(checked.out)["problems"]}
    assert "damaged" in kinds
    looked = cli("doctor", "--data", data, "--json")
    [store] = [f for f in json.loads(looked.out) if f["what"] == "store"]
    assert store["state"] == "bad"
    ingested = cli(
        "ingest", made.clips, "--fps", "2", "--strategy", "dense", "--data", data, "--json"
    )
    assert ingested.code == 0, ingested.err
    outcomes = [video["outcome"] for video in json.loads(ingested.out)["videos"]]
    assert sorted(outcomes) == ["known", "ready"]
    assert cli("index", "build", "--data", data).code == 0
    assert cli("store", "check", "--data", data).code == 0
    assert cli("videos", "verify", "--data", data).code == 0


def test_who_wants_to_write_need_not_wait_for_verify(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify, opened = Store.verify, []

    def slowly(store: Store, video_id: int | None = None) -> list[StoreProblem]:
        with Store.open(data) as writer:
            opened.append(writer.layout.root)
        return verify(store, video_id)

    monkeypatch.setattr(Store, "verify", slowly)
    ran = cli("videos", "verify", "--data", data)
    assert ran.code == 0, ran.err
    assert opened


def test_doctor_is_not_sure_of_what_it_has_not_read(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store() -> dict[str, str]:
        found = json.loads(cli("doctor", "--data", data, "--json").out)
        [looked] = [each for each in found if each["what"] == "store"]
        return looked

    assert store()["state"] == "good"
    monkeypatch.setattr("api.cli.doctor.CHECK_SECONDS", 0.0)
    found = store()
    assert found["state"] == "note"
    assert "0 of 2 parts read" in found["found"]


def test_a_query_says_what_it_lacks(cli: Cli, data: Path) -> None:
    damage(data)
    with Store.open(data) as store:
        video = next(v for v in store.catalog.videos() if v.name == "one.mp4")
        gone = replace(probe(video.path), path=str(data / "gone.mp4"))
        store.catalog.add_video(gone, video.content_hash or "", video.name)
        store.load_index(store.catalog.spaces()[0].key)
    with Store.open(data):  # so that the query below only reads
        ran = cli("query", "a star", "--data", data, "--json")
    coverage = json.loads(ran.out)["coverage"]
    assert not coverage["complete"]
    assert len(coverage["lacking"]) == 1
    listed = json.loads(cli("videos", "ls", "--data", data, "--json").out)
    assert sorted(video["rows"]["state"] for video in listed) == ["complete", "partial"]


def test_a_lost_catalog_is_repaired(cli: Cli, data: Path) -> None:
    before = cli("sql", "SELECT * FROM frames ORDER BY ALL", "--data", data, "--format", "csv")
    (data / "catalog.duckdb").unlink()
    lost = cli("videos", "ls", "--data", data)
    assert lost.code == 1
    assert "store repair" in lost.err
    repaired = cli("store", "repair", "--data", data, "--json")
    assert json.loads(repaired.out)["catalog"].startswith("from the published copy")
    after = cli("sql", "SELECT * FROM frames ORDER BY ALL", "--data", data, "--format", "csv")
    assert after.out == before.out


def test_the_space_in_use_is_removed_only_if_it_is_meant(cli: Cli, data: Path) -> None:
    [space] = json.loads(cli("spaces", "ls", "--data", data, "--json").out)["spaces"]
    asked = cli("spaces", "rm", space["key"], "--data", data)
    assert asked.code == 2
    assert "--yes" in asked.err
    assert cli("spaces", "rm", space["key"], "--yes", "--data", data).code == 0
    verified = cli("videos", "verify", "--data", data, "--json")
    assert verified.code == 1
    assert len(json.loads(verified.out)["problems"]) == 2


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--limit", "1"), ["one.mp4"]),
        (("--limit", "1", "--after", "1"), ["two.mp4"]),
        (("--limit", "0"), ["one.mp4", "two.mp4"]),
    ],
)
def test_videos_are_listed_by_the_page(
    options: tuple[str, ...], names: list[str], cli: Cli, data: Path
) -> None:
    ran: Ran = cli("videos", "ls", *options, "--data", data, "--json")
    assert [video["name"] for video in json.loads(ran.out)] == names
