"""The command line: help, one JSON document, exit codes, one-line errors, every command."""

import csv
import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
import typer.main

from api.cli import show
from api.cli.main import app
from engine.evaluation.bench.timed import TOWERS
from engine.storage.store import Store
from engine.video.gop import index_gops
from engine.vision.backbone.tower import VisionConfig
from tests.api.conftest import Made, Ran

Cli = Callable[..., Ran]


def commands() -> Iterator[tuple[str, ...]]:
    """Every command with the groups that lead to it."""

    def below(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, (*path, name))

    yield from below(typer.main.get_command(app), ())


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_has_help(cli: Cli, path: tuple[str, ...]) -> None:
    ran = cli(*path, "--help")
    assert ran.code == 0
    assert "Usage: dejavu-engine" in ran.text
    assert cli(*path, "-h").out == ran.out


def test_every_setting_is_a_variable(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEJAVU_DATA", str(data))
    monkeypatch.setenv("DEJAVU_QUERY_TOP", "1")
    monkeypatch.setenv("DEJAVU_DEVICE", "cpu")
    assert len(json.loads(cli("query", "a star", "--json").out)["moments"]) == 1
    assert len(json.loads(cli("query", "a star", "--top", "9", "--json").out)["moments"]) > 1
    found = json.loads(cli("query", "a star", "--video", "2", "--json").out)["moments"]
    assert {moment["video_id"] for moment in found} == {2}
    monkeypatch.setenv("DEJAVU_MODEL", "/nowhere")
    assert cli("query", "a star").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "a star"),
        ("ask", "what colour is it?", "--choice", "red", "--choice", "blue"),
        ("sql", "SELECT name FROM videos"),
        ("videos", "ls"),
        ("videos", "show", "one.mp4"),
        ("videos", "verify"),
        ("index", "status"),
        ("index", "build"),
        ("index", "compact"),
        ("spaces", "ls"),
        ("jobs", "ls"),
        ("doctor",),
        ("transcripts", "ls"),
        ("transcripts", "scan"),
        ("videos", "rm", "two.mp4"),
    ],
    ids=" ".join,
)
def test_json_is_one_document(cli: Cli, data: Path, arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments, "--data", data, "--json")
    assert ran.code == 0, ran.err
    json.loads(ran.out)
    again = cli(*arguments, "--data", data)
    assert again.code == (1 if "rm" in arguments else 0)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_flags_and_their_variables(path: tuple[str, ...]) -> None:
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    options = [item for item in command.params if item.param_type_name == "option"]
    if not hasattr(command, "commands") and path != ("mcp",):  # which speaks a protocol's JSON
        assert "--json" in [flag for option in options for flag in option.opts]
    for option in options:
        named = option.opts[0].lstrip("-").replace("-", "_")
        # without a variable of its own the command's name and the parameter's make one
        assert option.envvar or option.name in (named, f"_{named}")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("quary", "x"), 2, "quary"),
        (("query",), 2, "text"),
        (("query", "x", "--top", "0"), 2, "--top"),
        (("query", "x", "--top", "many"), 2, "--top"),
        (("query", "x", "--nope"), 2, "--nope"),
        (("query", "x", "--group-by", "moments"), 2, "nearest: moment"),
        (("query", "x", "--video", "three.mp4"), 1, "three.mp4"),
        (("query", "x", "--video", "9"), 1, "no video 9 among"),
        (("query", "x", "--min-score", "nan"), 2, "min_score is nan; allowed"),
        (("query", "x", "--model", "/nowhere"), 1, "/nowhere"),
        (("query", "x", "--device", "abacus"), 2, "abacus"),
        (("ask", "what?", "--choice", "one"), 2, "choice"),
        (("sql", "SELECT 1", "--format", "xml"), 2, "xml"),
        (("sql", "SELECT 1", "--param", "x"), 2, "name=value"),
        (("bench", "refine", "--clips", "0"), 2, "--clips"),
        (("bench", "multigpu", "--lanes", "0"), 2, "--lanes"),
        (("bench", "multigpu", "--device", "cpu", "--tower", "L/15"), 2, "nearest: L/14"),
        (("videos", "show", "on.mp4"), 1, "nearest: one.mp4"),
        (("videos", "rm", "9"), 1, "9"),
        (("spaces", "use", "none"), 1, "none"),
        (("jobs", "show", "none"), 1, "none"),
        (("ingest", "/nowhere.mp4"), 1, "/nowhere.mp4"),
        (("ingest", ".", "--strategy", "dens"), 2, "nearest: dense"),
        (("ingest", ".", "--strategy", "aut"), 2, "nearest: auto"),
        (("ingest", ".", "--fps", "0"), 2, "fps"),
        (("ingest", ".", "--fps", "nan"), 2, "fps"),
        (("ingest", ""), 2, "empty path"),
        (("ingest", ".", "--max-drift", "2"), 2, "max_drift"),
        (("serve", "--host", "0.0.0.0"), 2, "DEJAVU_API_KEYS"),
        (("serve", "--host", "127.0.0.1", "--port", "70000"), 2, "port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_error_is_one_line(
    cli: Cli, data: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    place = () if {"quary", "bench"} & set(arguments) else ("--data", data)
    ran = cli(*arguments, *place)
    assert (ran.code, ran.out) == (code, b"")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert said in ran.err


@pytest.mark.parametrize(
    "arguments", [("query", "x"), ("ask", "x"), ("sql", "SELECT 1"), ("videos", "ls")], ids=" ".join
)
def test_a_folder_that_is_not_there_is_not_made(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ran = cli(*arguments, "--data", tmp_path / "dta")
    assert (ran.code, ran.out) == (1, b"")
    assert "dejavu-engine ingest PATH" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_says_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    with Store.open(tmp_path):
        pass
    assert "dejavu-engine ingest" in cli("query", "a star", "--data", tmp_path).text


def test_a_port_that_is_taken(cli: Cli, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = cli("serve", "--port", taken.getsockname()[1], "--data", data, "--device", "cpu")
    assert (ran.code, ran.out) == (2, b"")
    assert "address already in use; --port 0" in ran.err


def test_debug_shows_where(cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dejavu-engine"])
    with pytest.raises(Exception, match="no video"):
        cli("--debug", "videos", "show", "nine", "--data", data)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyError("no\nsuch"), 70, "error: internal error, KeyError: 'no\\nsuch' (test_cli.py:"),
        (ValueError("two\nlines"), 70, "error: internal error, ValueError: two lines (test_cli"),
        (OSError(28, "No space left on device", "x"), 1, "error: no space left on device: x\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_nobody_foresaw_is_one_line(
    cli: Cli, data: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(show, "print_table", fail)
    ran = cli("videos", "ls", "--data", data)
    assert (ran.code, ran.out) == (code, b"")
    assert ran.err.startswith(said)
    assert ran.err.count("\n") == 1
    assert ("DEJAVU_DEBUG=1" in ran.err) == (code == 70)
    monkeypatch.setenv("DEJAVU_DEBUG", "1")
    with pytest.raises(type(error)):
        cli("videos", "ls", "--data", data)


def test_a_statement_that_fails_has_a_caret(cli: Cli, data: Path) -> None:
    ran = cli("sql", "SELECT nam FROM videos", "--data", data)
    error, line, caret, _ = ran.err.split("\n")
    assert (ran.code, line) == (1, "SELECT nam FROM videos")
    assert error.startswith("error: ")
    assert caret.index("^") == line.index("nam")


def test_sql_in_every_form(cli: Cli, data: Path) -> None:
    statement = "SELECT name, fps, duration_seconds > $most AS long FROM videos ORDER BY name"

    def run(*more: str) -> Ran:
        return cli("sql", statement, "--param", "most=4.5", *more, "--data", data)

    rows = json.loads(run("--format", "json").out)
    assert [row["name"] for row in rows] == ["one.mp4", "two.mp4"]
    assert [row["long"] for row in rows] == [False, True]
    assert json.loads(run("--json").out) == rows
    listed = list(csv.DictReader(io.StringIO(run("--format", "csv").text)))
    assert [row["name"] for row in listed] == ["one.mp4", "two.mp4"]
    assert pq.read_table(io.BytesIO(run("--format", "parquet").out)).to_pylist() == rows
    table = run().text
    assert "two.mp4" in table
    assert "2 rows" in table
    assert "FROM" not in run("--explain").err


def test_plans(cli: Cli, data: Path) -> None:
    statement = "SELECT max(CLIP_MATCH(frame, 'a star')) AS best FROM frames"
    planned = cli("sql", statement, "--explain", "--data", data).text
    measured = cli("sql", statement, "--analyze", "--data", data).text
    assert planned
    assert len(measured.splitlines()) >= len(planned.splitlines())


def test_a_page_with_pictures(cli: Cli, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert cli("query", "<b>star</b>", "--html", page, "--data", data).code == 0
    text = page.read_text()
    assert "data:image/jpeg;base64," in text
    assert "<b>" not in text


def test_a_page_without_a_file_that_is_gone(
    cli: Cli, data: Path, made: Made, tmp_path: Path
) -> None:
    page, gone = tmp_path / "page.html", tmp_path / "gone.mp4"
    with closing(duckdb.connect(str(data / "catalog.duckdb"))) as catalog:
        catalog.execute("UPDATE videos SET path = ? WHERE name = 'one.mp4'", [str(gone)])
    assert cli("query", "a star", "--html", page, "--data", data).code == 0
    assert f"{gone.name} cannot be read" in page.read_text()
    assert "data:image/jpeg;base64," in page.read_text()


def test_ingest_and_what_it_left(cli: Cli, made: Made, tmp_path: Path) -> None:
    data = tmp_path / "data"
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    one = made.clips / "one.mp4"
    ran = cli("ingest", one, "--strategy", "dense", "--data", data, "--json")
    assert ran.code == 0, ran.err
    assert [video["outcome"] for video in json.loads(ran.out)["videos"]] == ["ready"]
    again = cli("ingest", one, text, "--strategy", "dense", "--data", data, "--json")
    assert again.code == 3
    outcomes = {v["name"]: v["outcome"] for v in json.loads(again.out)["videos"]}
    assert outcomes == {"one.mp4": "known", "text.mp4": "quarantined"}
    told = cli("ingest", text, "--data", data).text, cli("videos", "ls", "--data", data).text
    for said in told:  # the reason in one line, not in a narrow column
        assert "quarantined" in said
        assert "\ntext.mp4 is not a video, or its header is damaged" in said
    with Store.open(data) as store:
        assert len(index_gops(one)) == len(
            store.catalog.gops(store.catalog.video("one.mp4").video_id)
        )


def test_spaces_and_jobs(cli: Cli, data: Path) -> None:
    found = json.loads(cli("spaces", "ls", "--data", data, "--json").out)
    key = found["current"]
    assert [space["key"] for space in found["spaces"]] == [key]
    assert cli("spaces", "use", key, "--data", data).code == 0
    with Store.open(data) as store:
        job = store.catalog.add_job("ingest", {"paths": ["x.mp4"]})
    shown = json.loads(cli("jobs", "show", job, "--data", data, "--json").out)
    assert (shown["id"], shown["status"]) == (job, "queued")
    assert job in cli("jobs", "show", job, "--data", data).text
    assert cli("jobs", "cancel", job, "--data", data).code == 0
    listed = json.loads(cli("jobs", "ls", "--data", data, "--json").out)
    assert [item["status"] for item in listed] == ["cancelled"]
    assert cli("spaces", "rm", key, "--yes", "--data", data, "--json").code == 0
    assert json.loads(cli("spaces", "ls", "--data", data, "--json").out)["spaces"] == []


def test_verify_finds_what_is_missing(cli: Cli, data: Path) -> None:
    next(data.rglob("*.parquet")).unlink()
    ran = cli("videos", "verify", "--data", data, "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["problems"]


def test_another_process_that_is_no_server(cli: Cli, data: Path) -> None:
    with Store.open(data):
        listed = cli("videos", "ls", "--data", data)
        assert listed.code == 0
        assert "this is what it published last" in listed.err
        ran = cli("videos", "rm", "one.mp4", "--data", data)
        assert ran.code == 1
        assert "in use by process" in ran.err
        found = json.loads(cli("doctor", "--data", data, "--json").out)
        model = next(f for f in found if f["what"] == "model")
        assert model["state"] == "note"
        assert "knows made-up clips only" in model["found"]
        assert "held by process" in next(f["found"] for f in found if f["what"] == "store")


def test_world_make(cli: Cli, tmp_path: Path) -> None:
    ran = cli("world", "make", tmp_path / "w", "--clips", "1", "--seed", "3", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert Path(told["annotations"]).name == "world.json"
    assert len(list((tmp_path / "w").glob("*.mp4"))) == 1
    assert cli("world", "make", tmp_path / "v", "--split", "tset").code == 2


def test_a_bench_of_gpus_is_tried_on_a_cpu(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = VisionConfig(layers=2, width=32, heads=2, mlp=64, patch=8, image_size=16, dimension=16)
    monkeypatch.setitem(TOWERS, "tiny", tiny)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    ran = cli(
        *("bench", "multigpu", "--device", "cpu", "--tower", "tiny", "--gpus", "1", "--json"),
        *("--stretches", "3", "--lanes", "2", "--only", "dense"),
    )
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert [row["strategy"] for row in report["rows"]] == ["dense"]
    assert "3 stretches of 17 to 129 frames, 2 lanes" in report["notes"][0]


def test_version_and_no_command(cli: Cli) -> None:
    assert cli("--version").text.startswith("dejavu-engine ")
    ran = cli()
    assert (ran.code, ran.err) == (2, "")
    assert "Usage" in ran.text
