"""Boxes of real files: against a plain decode, once for each GOP, and after what can go wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from engine import Engine, detecting
from engine.errors import UsageError
from engine.storage.backup import backup, restore
from engine.storage.repair import repair
from engine.video.write import write_h264
from engine.vision.detect import load_detector
from engine.world.action import make_action
from engine.world.render import render_planes
from tests.detections import random_yolos

SQL = "SELECT v.name, d.frame, d.seconds, d.label, d.score, d.x0, d.y0, d.x1, d.y1 FROM detections d JOIN videos v USING (video_id)"  # noqa: E501
ORDER = " ORDER BY v.name, d.frame, d.score DESC, d.x0"
LENGTHS = {"long.mp4": 5.3, "short.mp4": 1.5}
LABELS = ("ball", "box", "cup")


def frames_of(seed: int, seconds: float) -> Iterator[NDArray[np.uint8]]:
    script = make_action(seed, "test", "left").script
    for number in range(round(12 * seconds)):
        yield np.ascontiguousarray(
            render_planes(script, round(1000 * number / 12), 64).transpose(1, 2, 0)
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_yolos(tmp_path_factory.mktemp("random-yolos"), LABELS)


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


def expected(footage: Path, model: str) -> dict[tuple[str, int], list[tuple[str, float, float]]]:
    """Decode every file whole, by PyAV alone, and look at every sixth frame: two a second."""
    detector, found = load_detector(model, device="cpu"), {}
    for name in LENGTHS:
        with av.open(footage / name) as file:
            shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        for number, picture in enumerate(shown[::6]):
            objects = detector.detect([picture])
            found[name, number] = [
                (LABELS[label], score, box[0])
                for label, score, box in zip(
                    objects.labels[0].tolist(),
                    objects.scores[0].tolist(),
                    objects.boxes[0].tolist(),
                    strict=True,
                )
                if score
            ]
    return found


def made(result: object) -> int:
    return sum(item.frames for item in result.work.detections)  # type: ignore[attr-defined]


def test_it_is_what_a_plain_decode_gives_and_is_kept(footage: Path, data: Path, model: str) -> None:
    truth = expected(footage, model)
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        first, again = engine.sql(SQL + ORDER), engine.sql(SQL + ORDER)
        assert engine.store.verify() == []
        embedded = engine.sql("SELECT count(*) AS n FROM frames").rows()
    for result in (first, again):
        rows: dict[tuple[str, int], list[tuple[str, float, float]]] = {key: [] for key in truth}
        for row in result.rows():
            assert row["seconds"] == pytest.approx(row["frame"] / 2, abs=1e-6)
            rows[row["name"], row["frame"]].append((row["label"], row["score"], row["x0"]))
        for key, objects in truth.items():
            assert [label for label, *_ in rows[key]] == [label for label, *_ in objects]
            got, wanted = np.array([o[1:] for o in rows[key]]), np.array([o[1:] for o in objects])
            np.testing.assert_allclose(got, wanted, atol=1e-3)
        assert result.coverage.complete
    assert sum(map(len, truth.values())) > len(truth)
    assert len({row["label"] for row in first.rows()}) > 1
    assert made(first) == len(truth) == 14
    assert made(again) == 0
    assert embedded == [{"n": 0}]
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        kept = engine.sql(SQL + ORDER)  # the rows are there after reopening
        assert made(kept) == 0
        assert kept.rows() == again.rows()


def test_detect_reads_the_same_rows(data: Path, model: str) -> None:
    sql = "SELECT video_id, frame, DETECT(frame, 'cup') AS s FROM frames WHERE seconds < 2"
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        spotted = engine.sql(sql)
        boxes = engine.sql("SELECT * FROM detections('cup') WHERE seconds < 2")
    best: dict[tuple[int, int], float] = {}
    for row in boxes.rows():
        key = row["video_id"], row["frame"]
        best[key] = max(best.get(key, 0.0), row["score"])
    rows = {(row["video_id"], row["frame"]): row["s"] for row in spotted.rows()}
    assert rows == {key: pytest.approx(best.get(key, 0.0)) for key in rows}
    assert best.keys() <= rows.keys()
    assert len(rows) == 7
    assert made(spotted) >= 7
    assert made(boxes) == 0


def test_a_track_is_the_same_whichever_rows_are_asked_for(data: Path, model: str) -> None:
    """Once all was looked at: of a part, of a label alone, and after reopening."""
    sql = SQL.replace("d.label", "d.track, d.label")
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        whole = engine.sql(sql + ORDER).rows()
        late = engine.sql(sql + " WHERE d.seconds > 2" + ORDER).rows()
        cups = engine.sql(sql.replace("detections d", "detections('cup') d") + ORDER).rows()
    assert late == [row for row in whole if row["seconds"] > 2]
    assert cups == [row for row in whole if row["label"] == "cup"]
    by_track: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for row in whole:
        by_track.setdefault((row["name"], row["track"]), []).append((row["frame"], row["label"]))
    for (_, track), seen in by_track.items():
        frames = [frame for frame, _ in seen]
        assert frames[0] == track // 32
        assert len(frames) == len(set(frames))
        assert len({label for _, label in seen}) == 1
    assert max(map(len, by_track.values())) > 3


def test_no_row_is_read_for_each_run_of_groups(
    data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many runs: once for its boxes and once for its track; the answer is the same."""
    sql = SQL.replace("d.label", "d.track, d.label") + ORDER
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        spotted = "SELECT max(DETECT(frame, 'cup')) AS s FROM frames"
        whole, best = engine.sql(sql).rows(), engine.sql(spotted).rows()
        read, rows_of = [0], engine.store.rows
        monkeypatch.setattr(detecting, "TOGETHER", 1)

        def rows(*given: Any, **more: Any) -> pa.Table:
            found = rows_of(*given, **more)
            read[0] += len(found)
            return found

        monkeypatch.setattr(engine.store, "rows", rows)
        assert engine.sql(sql).rows() == whole
        assert read == [2 * 14]
        assert engine.sql(spotted).rows() == best
        assert read == [3 * 14]


def test_only_what_is_asked_for_is_decoded(data: Path, model: str) -> None:
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        some = engine.sql(SQL + " WHERE d.seconds < 0.6 AND v.name LIKE 'l%'")
        assert made(some) == 2  # of the group of pictures that is shown first
        assert {row["name"] for row in some.rows()} <= {"long.mp4"}
        rest = engine.sql(SQL)
        assert made(rest) == 12
        assert rest.coverage.complete


def test_a_reader_and_a_lost_file_say_what_they_lack(data: Path, model: str) -> None:
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        engine.sql(SQL + " WHERE v.name = 'short.mp4'")
    with Engine.open(data, device="cpu", detector_model=model, read_only=True) as reader:
        found = reader.sql(SQL)
        assert {row["name"] for row in found.rows()} == {"short.mp4"}
        assert not found.coverage.complete
    (data.parent / "videos" / "long.mp4").unlink()
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        found = engine.sql(SQL)
        assert {row["name"] for row in found.rows()} == {"short.mp4"}
        assert (found.coverage.complete, found.coverage.budget) == (False, False)


def test_a_budget_ends_it_and_the_next_goes_on(data: Path, model: str) -> None:
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        none = engine.sql(SQL, options={"budget_seconds": 1e-9})
        assert none.rows() == []
        assert (none.coverage.complete, none.coverage.budget) == (False, True)
        assert engine.sql(SQL).coverage.complete
        known = engine.sql(SQL, options={"budget_seconds": 1e-9}).coverage
        assert (known.complete, known.budget) == (True, False)  # there was nothing to end


def test_backup_and_repair_hold_for_it(data: Path, tmp_path: Path, model: str) -> None:
    """A catalog made anew from the Parquet files alone knows what was looked at."""
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        before = engine.sql(SQL + ORDER).rows()
    backup(data, tmp_path / "kept")
    restore(tmp_path / "kept", tmp_path / "other")
    for path in [*data.glob("catalog.duckdb*"), *data.glob("published/*")]:
        path.unlink()
    repair(data)
    for folder in (data, tmp_path / "other"):
        with Engine.open(folder, device="cpu", detector_model=model) as engine:
            again = engine.sql(SQL + ORDER)
        assert made(again) == 0
        assert again.rows() == before


def test_rows_follow_the_rate_of_embeddings(data: Path, model: str) -> None:
    """Embeddings made later at another rate: the boxes of their frames are looked for anew."""
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        engine.sql(SQL)
        engine.ingest(data.parent / "videos", fps=3)
        joined = (
            "SELECT count(*) AS n FROM frames f SEMI JOIN detections d"
            " ON f.video_id = d.video_id AND f.frame = d.frame AND f.seconds = d.seconds"
        )
        boxes = engine.sql(SQL)
        with_box = {(row["name"], row["frame"]) for row in boxes.rows()}
        assert engine.sql(joined).rows() == [{"n": len(with_box)}]
        assert made(boxes) == 21
        assert {row["frame"] for row in boxes.rows()} > set(range(11))


def test_the_detector_that_ships_answers_with_a_caution(data: Path) -> None:
    """The thing that moves in both videos is found, by its whole name and by its shape alone."""
    things = [make_action(seed, "test", "left").script.shots[0].things[-1] for seed in (0, 1)]
    with Engine.open(data, device="cpu") as engine:
        for video, thing in zip(("long.mp4", "short.mp4"), things, strict=True):
            sql = (
                "SELECT max(DETECT(f.frame, $label)) AS score FROM frames f"
                " JOIN videos v USING (video_id) WHERE v.name = $video"
            )
            name = f"{thing.colour_at(0)} {thing.shape}"
            for label in (name, thing.shape):
                found = engine.sql(sql, label=label, video=video)
                assert found.rows()[0]["score"] > 0.3
                assert "built-in detector knows made-up clips only" in (found.caution or "")
        said = (
            r"^unknown object of builtin-detector 'redd'; allowed: .* and 144 more, all of them by "
        )
        with pytest.raises(
            UsageError, match=rf"{said}\S+ models labels detector; nearest: red"
        ) as it:
            engine.sql("SELECT * FROM detections('redd')")
        assert len(str(it.value)) < 500
