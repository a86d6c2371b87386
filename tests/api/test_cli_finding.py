"""Commands that start from a query: what is looked for, and the files it becomes."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from api.cli import show
from api.cli.contact_sheet import Thumbnail, draw_sheet
from engine import Engine, UsageError
from engine.video.gop import index_gops
from tests.api.conftest import Ran

Cli = Callable[..., Ran]


@pytest.fixture
def place(data: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Flags of a store of its own: a query keeps what it measured."""
    monkeypatch.setenv("DEJAVU_DEVICE", "cpu")
    return ("--data", data)


def moments(ran: Ran) -> list[dict[str, object]]:
    """Return what a query printed as JSON."""
    assert ran.code == 0, ran.err
    found: list[dict[str, object]] = json.loads(ran.out)["moments"]
    return found


def test_offset_goes_on_where_the_top_ends(cli: Cli, place: tuple[object, ...]) -> None:
    asked = ("query", "a star", "--group-by", "frame", "--json", *place)
    all_of_them = moments(cli(*asked, "--top", 6))
    assert moments(cli(*asked, "--top", 4, "--offset", 2)) == all_of_them[2:]
    table = cli("query", "a star", "--group-by", "frame", "--top", 2, "--offset", 2, *place).text
    assert table.splitlines()[1].split()[0] == "3"


def test_csv_holds_what_json_holds(cli: Cli, place: tuple[object, ...]) -> None:
    listed = moments(cli("query", "a star", "--json", *place))
    ran = cli("query", "a star", "--format", "csv", *place)
    rows = list(csv.DictReader(io.StringIO(ran.text)))
    assert [row["name"] for row in rows] == [each["name"] for each in listed]
    assert [float(row["score"]) for row in rows] == [each["score"] for each in listed]


def test_an_image_finds_itself_and_its_frame_is_written(
    cli: Cli, place: tuple[object, ...], tmp_path: Path
) -> None:
    ran = cli("frames", "a star", "--top", 1, "--out", tmp_path, "--json", *place)
    [path] = json.loads(ran.out)["written"]
    assert Path(path).read_bytes().startswith(b"\xff\xd8\xff")
    best = moments(cli("query", "--image", path, "--group-by", "frame", "--json", *place))[0]
    assert str(best["name"]).removesuffix(".mp4") in path
    assert best["score"] > 0.98  # type: ignore[operator]


def test_texts_are_mixed_by_their_weights(engine: Engine) -> None:
    def vector(text: str) -> np.ndarray:
        return engine.model.embed_texts([text])[0]

    found = engine.query("a star", 1, group_by="frame", mix={"a red ring": 0.7, "a square": -0.5})
    best = found.moments[0]
    wanted = vector("a star") + 0.7 * vector("a red ring") - 0.5 * vector("a square")
    stored = engine.sql(
        "SELECT CLIP_MATCH(frame, 'a star') AS a, CLIP_MATCH(frame, 'a red ring') AS b,"
        " CLIP_MATCH(frame, 'a square') AS c FROM frames WHERE video_id = ? AND seconds = ?",
        best.video_id,
        best.peak_seconds,
    ).rows()[0]
    expected = (stored["a"] + 0.7 * stored["b"] - 0.5 * stored["c"]) / np.linalg.norm(wanted)
    assert best.score == pytest.approx(expected, abs=1e-4)
    with pytest.raises(UsageError, match="cancel each other"):
        engine.query("a star", mix={"a star": -1.0})
    with pytest.raises(UsageError, match="allowed: a text and a finite number"):
        engine.query("a star", mix={"": 1.0})


def test_not_leads_away(cli: Cli, place: tuple[object, ...]) -> None:
    away = moments(cli("query", "a star", "--not", "a ring", "--json", *place))
    mixed = moments(cli("query", "a star", "--mix", "a ring=-0.5", "--json", *place))
    assert away == mixed != moments(cli("query", "a star", "--json", *place))


def test_moments_become_clips(cli: Cli, place: tuple[object, ...], tmp_path: Path) -> None:
    ran = cli("clip", "a star", "--top", 2, "--pad", 0.5, "--out", tmp_path / "c", *place)
    assert ran.code == 0, ran.err
    found = moments(cli("query", "a star", "--top", 2, "--json", *place))
    paths = ran.text.split()
    assert len(paths) == len(found)
    for path, moment in zip(paths, found, strict=True):
        start = max(0.0, float(moment["start_seconds"]) - 0.5)  # type: ignore[arg-type]
        length = index_gops(path)[-1].stop_seconds
        assert 0 < length <= float(moment["stop_seconds"]) + 0.5 - start + 0.1  # type: ignore[arg-type]


def test_a_sheet_shows_every_moment(cli: Cli, place: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    ran = cli("sheet", "a star", "--columns", 2, "--width", 64, "--out", path, *place)
    assert ran.code == 0, ran.err
    with Image.open(path) as sheet:
        assert sheet.width == 2 * (64 + 8) + 8


def test_a_sheet_has_room_for_what_cannot_be_read() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 18), "red").save(buffer, "JPEG")
    sheet = draw_sheet(
        "two\nlines " * 99,
        [Thumbnail("red\n", buffer.getvalue()), Thumbnail("gone " * 99, None)],
        2,
        64,
    )
    assert sheet.getpixel((40, 50))[0] > 200  # type: ignore[index]
    assert sheet.getpixel((40 + 72, 50)) == (0xDD, 0xDD, 0xDD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "got neither; allowed: a text, or --image FILE"),
        (("a star", "--image", "x.png"), "got both; allowed: a text, or --image FILE"),
        (("--image", "none.png"), "--image none.png: no such file"),
        (("a star", "--mix", "a ring"), "--mix 'a ring'; expected TEXT=WEIGHT"),
        (("a star", "--format", "cvs"), "unknown format 'cvs'; allowed: csv, json, table"),
    ],
)
def test_what_cannot_be_looked_for(
    cli: Cli, place: tuple[object, ...], arguments: tuple[str, ...], message: str
) -> None:
    ran = cli("query", *arguments, *place)
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_what_is_piped_is_not_wrapped(cli: Cli, place: tuple[object, ...]) -> None:
    ran = cli("sql", f"SELECT '{'long ' * 80}' AS text, 1 AS one", *place)
    assert "long " * 80 in ran.text
    assert show.out.size.width > 1000
