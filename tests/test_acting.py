"""ACTION on real files: against a plain decode, once for each clip, and after what can go wrong."""

import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine import Engine
from engine.acting import StoredActions
from engine.config import Settings
from engine.storage.backup import backup, restore
from engine.storage.repair import repair
from engine.video.write import write_h264
from engine.vision.action import load_action_model
from engine.vision.backbone.preprocess import prepare
from engine.world.action import make_action
from engine.world.render import render_planes

SQL = "SELECT v.name, c.clip, c.start_seconds AS at, ACTION(c.clip) AS what, ACTION(c.clip, $l) AS p FROM clips c JOIN videos v USING (video_id)"  # noqa: E501
LENGTHS = {"long.mp4": 5.3, "exact.mp4": 4.0, "short.mp4": 1.5}


def frames_of(seed: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    script = make_action(seed, "test", "left").script
    for number in range(round(12 * seconds)):
        yield np.ascontiguousarray(
            render_planes(script, round(1000 * number / 12), 64).transpose(1, 2, 0)
        )


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage")
    for seed, (name, seconds) in enumerate(LENGTHS.items()):
        write_h264(folder / name, frames_of(seed, seconds), 12, gop=9)
    return folder


@pytest.fixture
def data(footage: Path, tmp_path: Path) -> Path:
    """A store that knows the files, and has embedded none."""
    shutil.copytree(footage, tmp_path / "videos")
    with Engine.open(tmp_path / "data", device="cpu") as engine:
        engine.register(tmp_path / "videos")
    return tmp_path / "data"


def expected(footage: Path) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Decode every file whole, by PyAV alone, and classify each span's frames."""
    model, found = load_action_model(device="cpu"), {}
    for name, seconds in LENGTHS.items():
        with av.open(footage / name) as file:
            stream = file.streams.video[0]
            shown = [
                (Fraction(f.pts) * f.time_base, f.to_ndarray(format="rgb24"))  # type: ignore[operator]
                for f in file.decode(stream)
            ]
        stop = Fraction(len(shown), 12)
        starts = [Fraction(2 * n) for n in range(int(seconds / 2))]
        if starts and stop - 2 * len(starts) > Fraction(1, 8):
            starts.append(stop - 2)
        for clip, start in enumerate(starts):
            times = [start + Fraction(n, 4) for n in range(8)]
            pictures = [[p for at, p in shown if at <= time][-1] for time in times]
            pixels = torch.stack([prepare(p, model.preprocessing) for p in pictures])
            found[name, clip] = model.classify(pixels[None])[0].numpy()
    return found


def test_it_is_what_a_plain_decode_gives_and_is_kept(footage: Path, data: Path) -> None:
    truth = expected(footage)
    label = "moving left"
    with Engine.open(data, device="cpu") as engine:
        assert engine.store.verify() == []
        first = engine.sql(SQL, l=label)
        again = engine.sql(SQL, l=label)
        spaces = {space.dimension for space in engine.store.catalog.spaces()}
        assert engine.store.verify() == []
    labels = load_action_model(device="cpu").labels
    for result in (first, again):
        rows = {(row["name"], row["clip"]): row for row in result.rows()}
        assert rows.keys() == truth.keys()
        for key, shares in truth.items():
            assert rows[key]["p"] == pytest.approx(shares[labels.index(label)], abs=2e-3)
            assert shares.max() - shares[labels.index(rows[key]["what"])] < 2e-3
        assert result.coverage.complete
    assert {key for key in truth if key[0] == "short.mp4"} == set()
    assert rows["long.mp4", 2]["at"] == pytest.approx(64 / 12 - 2, abs=1e-6)
    assert 9 in spaces
    assert first.work is not None
    assert again.work is not None
    assert sum(item.made for item in first.work.actions) == len(truth) == 5
    assert sum(item.made for item in again.work.actions) == 0
    with Engine.open(data, device="cpu") as engine:  # the rows are there after reopening
        kept = engine.sql(SQL, l=label)
        assert kept.work is not None
        assert sum(item.made for item in kept.work.actions) == 0
        assert [row["p"] for row in kept.rows()] == [row["p"] for row in again.rows()]


def test_only_what_is_asked_for_is_decoded(data: Path) -> None:
    with Engine.open(data, device="cpu") as engine:
        some = engine.sql(SQL + " WHERE c.start_seconds < 1 AND v.name LIKE 'l%'", l="growing")
        assert [(row["name"], row["clip"]) for row in some.rows()] == [("long.mp4", 0)]
        assert engine.store.verify() == []
        rest = engine.sql(SQL, l="growing")
        assert rest.work is not None
        assert sum(item.made for item in rest.work.actions) == 4
        assert rest.coverage.complete


def test_a_reader_and_a_lost_file_say_what_they_lack(data: Path) -> None:
    with Engine.open(data, device="cpu") as engine:
        engine.sql(SQL + " WHERE v.name = 'exact.mp4'", l="growing")
    with Engine.open(data, device="cpu", read_only=True) as reader:
        found = reader.sql(SQL, l="growing")
        known = {row["name"] for row in found.rows() if row["p"] is not None}
        assert known == {"exact.mp4"}
        assert (found.coverage.complete, found.coverage.budget) == (False, False)
    (data.parent / "videos" / "long.mp4").unlink()
    with Engine.open(data, device="cpu") as engine:
        found = engine.sql(SQL, l="growing")
        assert {row["name"] for row in found.rows() if row["p"] is None} == {"long.mp4"}
        assert (found.coverage.complete, found.coverage.budget) == (False, False)
        ended = engine.sql(SQL, l="growing", options={"budget_seconds": 1e-9})
        assert (ended.coverage.complete, ended.coverage.budget) == (False, True)


def test_backup_and_repair_hold_for_it(data: Path, tmp_path: Path) -> None:
    """A catalog made anew from the Parquet files alone knows what was classified."""
    with Engine.open(data, device="cpu") as engine:
        before = engine.sql(SQL, l="growing").rows()
    backup(data, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "other")
    for path in [*data.glob("catalog.duckdb*"), *data.glob("published/*")]:
        path.unlink()
    repair(data)
    for folder in (data, tmp_path / "other"):
        with Engine.open(folder, device="cpu") as engine:
            again = engine.sql(SQL, l="growing")
            # of frames a repaired store says that none are embedded, which is so
            told = [problem.message for problem in engine.store.verify()]
            assert [message for message in told if "builtin-action" in message] == []
        assert again.work is not None
        assert sum(item.made for item in again.work.actions) == 0
        assert again.rows() == before


def test_spans_cover_a_video_from_its_first_frame() -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    spans = {1: [(0.5, 3.0), (3.0, 7.75)], 2: [(0.0, 1.9)], 3: [(0.0, 2.0)]}
    rows = [(video, *span) for video, each in spans.items() for span in each]
    gops = pa.table(list(zip(*rows, strict=True)), ["video_id", "start_seconds", "stop_seconds"])
    actions = StoredActions(None, Settings(device="cpu"))  # type: ignore[arg-type]
    found = [
        (row["video_id"], row["clip"], row["start_seconds"], row["stop_seconds"])
        for row in actions.clips(gops).to_pylist()
    ]
    assert found == [
        (1, 0, 0.5, 2.5), (1, 1, 2.5, 4.5), (1, 2, 4.5, 6.5), (1, 3, 5.75, 7.75), (3, 0, 0.0, 2.0),
    ]  # fmt: skip
    assert actions.clips(gops.slice(0, 0)).num_rows == 0
    assert actions.too_short(gops) == "1 video is shorter than a clip of 2 s, and without any"
    assert actions.too_short(gops.filter(pc.field("video_id") != 2)) is None


@pytest.mark.parametrize(
    ("sql", "cautions"),
    [
        ("SELECT ACTION(clip) AS what FROM clips LIMIT 0", ["action model"]),
        ("SELECT CLIP_MATCH(frame, 'a star') AS s FROM frames LIMIT 0", ["model"]),
        ("SELECT clip FROM clips", []),
        ("SELECT name FROM videos", []),
    ],
)
def test_rows_say_which_model_to_be_cautious_of(data: Path, sql: str, cautions: list[str]) -> None:
    with Engine.open(data, device="cpu", embed_seconds=1e-6) as engine:
        said = engine.sql(sql).caution
    assert all(f"the built-in {each} knows" in str(said) for each in cautions)
    short = sum(seconds < 2 for seconds in LENGTHS.values())
    assert (f"{short} video" in str(said)) == (short > 0 and "action model" in cautions)
    assert (said is None) == (not cautions)
