"""What an ingest would do is what it then does."""

import shutil
from pathlib import Path

import pytest

from engine.ingest import ingest, register
from engine.ingesting.forecast import BeforeIngest, Forecast, forecast
from engine.ingesting.report import IngestOptions
from engine.storage.store import Store
from engine.vision.model import Model


@pytest.fixture
def folder(clips: Path, tmp_path: Path) -> Path:
    made = tmp_path / "films"
    made.mkdir()
    for name in ("middle.mp4", "short.mp4"):
        shutil.copy(clips / name, made)
    (made / "torn.mp4").write_bytes((clips / "short.mp4").read_bytes()[:300])
    return made


def told(store: Store, model: Model, folder: Path, **options) -> Forecast:
    known = BeforeIngest(store, model.space.key if store.catalog.spaces() else None, "cpu")
    return forecast([folder], IngestOptions(strategy="dense", **options), known)


def outcomes(found: Forecast) -> dict[str, str]:
    return {file.name: file.outcome for file in found.files}


@pytest.mark.parametrize("coverage", ["all", "keys"])
def test_frames_are_those_of_the_ingest(store: Store, model: Model, folder, coverage) -> None:
    bare = forecast([folder], IngestOptions(strategy="dense", coverage=coverage))
    before = told(store, model, folder, coverage=coverage)
    assert bare == before
    assert outcomes(before) == {"middle.mp4": "new", "short.mp4": "new", "torn.mp4": "quarantined"}
    assert (before.decode_seconds, before.encode_seconds, before.disk_bytes) == (None, None, None)
    options = IngestOptions(strategy="dense", coverage=coverage)
    report = ingest(store, model, [folder], options)
    assert before.frames == report.frames > 0
    assert before.seconds == pytest.approx(12.5)
    reasons = {file.name: file.reason for file in before.files if file.reason}
    assert reasons == {video.name: video.reason for video in report.quarantined}
    after = told(store, model, folder, coverage=coverage)
    assert after.frames == 0
    assert outcomes(after)["middle.mp4"] == "known"


def test_finer_rows_are_asked_for(store: Store, model: Model, folder: Path) -> None:
    ingest(store, model, [folder / "middle.mp4"], IngestOptions(strategy="dense", fps=1))
    again = told(store, model, folder, fps=2)
    assert outcomes(again)["middle.mp4"] == "resumed"
    assert {file.name: file.frames for file in again.files}["middle.mp4"] == 20
    per_row = store.bytes_per_row(model.space.key)
    assert per_row is not None
    assert again.disk_bytes == round(per_row * again.frames)
    assert outcomes(told(store, model, folder, fps=0.5))["middle.mp4"] == "known"


def test_registered_videos_and_copies(store: Store, model: Model, folder: Path) -> None:
    register(store, [folder / "short.mp4"])
    shutil.copy(folder / "middle.mp4", folder / "twin.mp4")
    found = outcomes(told(store, model, folder))
    assert found["short.mp4"] == "new"
    assert found["twin.mp4"] == "known"
    assert told(store, model, folder, coverage="none").frames == 0
