"""Boxes of real files: against a plain decode, once for each GOP, and after what can go wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Engine
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
        assert not found.coverage.complete


def test_a_budget_ends_it_and_the_next_goes_on(data: Path, model: str) -> None:
    with Engine.open(data, device="cpu", detector_model=model) as engine:
        none = engine.sql(SQL, options={"budget_seconds": 1e-9})
        assert none.rows() == []
        assert not none.coverage.complete
        assert engine.sql(SQL).coverage.complete


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


def test_without_a_detector_it_says_how_to_get_one(data: Path) -> None:
    with (
        Engine.open(data, device="cpu") as engine,
        pytest.raises(UsageError, match="set DEJAVU_DETECTOR_MODEL"),
    ):
        engine.sql(SQL)
