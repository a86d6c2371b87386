"""Videos in a bucket as they are shown: a large one for few bytes, and one that has changed."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from engine.errors import SourceChangedError
from engine.objects.blocks import blocks
from engine.session import Engine
from engine.video.decode import get_frame_at
from tests.api.conftest import URL
from tests.objects.clips import spread, write_clip
from tests.objects.s3 import S3

MOST = 16 << 20  # bytes for a step: each of the 60 pictures lies by itself, in blocks of 64 KB


def test_ten_gigabytes_are_found_shown_and_played_for_few_bytes(
    s3: S3, street_clip: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big.mp4"
    spread(street_clip, big, 10 << 30, front=False)
    s3.put("films/big.mp4", big)
    with Engine.open(tmp_path / "store", device="cpu", strategy="dense", fps=1) as engine:
        engine.ingest("s3://bucket/films/big.mp4")
        sent = [s3.sent()]
        [video] = engine.videos()
        assert (video.status, video.size_bytes) == ("ready", 10 << 30)
        with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
            s3.asked.clear()
            [best, *_] = client.post("/query", json={"text": "a street"}).json()["moments"]
            assert s3.asked == []  # what is stored answers
            for path in (best["thumbnail_url"], best["clip_url"]):
                blocks.cache_clear()
                s3.asked.clear()
                answer = client.get(path)
                assert (answer.status_code, len(answer.content) > 0) == (200, True), answer.text
                sent.append(s3.sent())
        shown = get_frame_at(str(street_clip), best["peak_seconds"], gops=engine.footage(1).gops)
        assert shown.seconds == pytest.approx(best["peak_seconds"])
    assert all(0 < each < MOST for each in sent), sent


def test_an_object_that_is_another_now_is_not_shown_as_what_was_ingested(
    s3: S3, street_clip: Path, tmp_path: Path
) -> None:
    s3.put("films/street.mp4", street_clip.read_bytes())
    with Engine.open(tmp_path / "store", device="cpu", strategy="dense", fps=1) as engine:
        engine.ingest("s3://bucket/films/street.mp4")
        with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
            first = client.get("/videos/1").json()
            assert (first["source_gone"], first["source_changed"]) == (False, False)
            kept = client.get("/videos/1/frames/1.0.jpg")
            other = write_clip(tmp_path / "other.mp4", seed=4)
            s3.put("films/street.mp4", other.read_bytes())
            blocks.cache_clear()
            now = client.get("/videos/1").json()
            assert (now["source_gone"], now["source_changed"]) == (False, True)
            [listed] = client.get("/videos").json()["videos"]
            assert (listed["source_gone"], listed["source_changed"]) == (None, None)
            for path in ("frames/2.0.jpg", "sprite.jpg?tiles=3", "clip.mp4?start=1&stop=2"):
                answer = client.get(f"/videos/1/{path}")
                told = answer.json()
                assert (answer.status_code, told["kind"]) == (409, "SourceChangedError"), path
                assert "has changed since it was ingested" in told["detail"]
                assert "\n" not in told["detail"]
            # what was drawn of the former content is still a picture of what was ingested
            again = client.get("/videos/1/frames/1.0.jpg")
            assert (again.status_code, again.content) == (200, kept.content)
        with pytest.raises(SourceChangedError):
            engine.footage(1).frame(2.0, 64)
        engine.ingest("s3://bucket/films/street.mp4")  # which makes a new version
        [video] = engine.videos()
        assert engine.footage(video.video_id).frame(2.0, 64)
        del s3.objects["films/street.mp4"]
        with TestClient(create_app(engine, ServerSettings()), base_url=URL) as client:
            gone = client.get(f"/videos/{video.video_id}").json()
            assert (gone["source_gone"], gone["source_changed"]) == (True, None)
