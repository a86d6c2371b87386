"""Pictures of a whole video in one, and how much it changes: held against frames and vectors."""

import io
import json
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from engine.errors import UsageError
from engine.session import Engine
from engine.video.gop import index_gops
from engine.video.stills import stills
from engine.video.write import write_h264
from tests.api.conftest import Made


def tiles_of(content: bytes, count: int) -> list[np.ndarray]:
    """Cut a sprite with square tiles, ten in a row."""
    sheet = np.asarray(Image.open(io.BytesIO(content)), np.float32)
    side = sheet.shape[1] // min(count, 10)
    assert sheet.shape[0] == side * -(-count // 10)
    places = [divmod(number, 10) for number in range(count)]
    return [sheet[r * side : (r + 1) * side, c * side : (c + 1) * side] for r, c in places]


def test_a_tile_shows_its_part_of_the_video(client: TestClient) -> None:
    answer = client.get("/videos/1/sprite.jpg", params={"tiles": 11, "width": 96})
    assert answer.headers["content-type"] == "image/jpeg"
    length = client.get("/videos/1").json()["duration_seconds"]
    frames = []
    for number in range(11):
        at = (number + 0.5) * length / 11
        single = client.get(f"/videos/1/frames/{at:.6f}.jpg", params={"width": 96}).content
        frames.append(np.asarray(Image.open(io.BytesIO(single)), np.float32))
    off = np.array(
        [[np.abs(tile - frame).mean() for frame in frames] for tile in tiles_of(answer.content, 11)]
    )
    assert off.diagonal().max() < 6  # JPEG, and pictures between two that are alike
    assert list(off.argmin(axis=1)) == list(range(11))


def test_a_sprite_is_kept_and_known_again(client: TestClient) -> None:
    first = client.get("/videos/2/sprite.jpg?tiles=5&width=32")
    tag = first.headers["etag"]
    again = client.get("/videos/2/sprite.jpg?tiles=5&width=32", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    other = client.get("/videos/2/sprite.jpg?tiles=6&width=32", headers={"If-None-Match": tag})
    assert other.status_code == 200
    assert "max-age" in first.headers["cache-control"]


@pytest.mark.parametrize("query", ["tiles=0", "tiles=401", "width=8", "width=9999"])
def test_a_sprite_has_its_bounds(client: TestClient, query: str) -> None:
    assert client.get(f"/videos/1/sprite.jpg?{query}").status_code == 422


def test_a_sprite_has_its_bounds_in_python(engine: Engine) -> None:
    with pytest.raises(UsageError, match="tiles 0; allowed: 1 to 200"):
        engine.footage(1).sprite(0, 100)


def test_groups_shorter_than_a_part_show_their_first_picture(tmp_path: Path) -> None:
    images = [np.full((32, 32, 3), 20 + 3 * n, np.uint8) for n in range(60)]
    path = tmp_path / "clip.mp4"
    write_h264(path, images, 10, gop=5, bframes=0, crf=1)
    gops = index_gops(path)
    starts = [gop.start_seconds for gop in gops]
    assert len(starts) > 8
    instants = [0.95, 2.55, 3.45, 5.2]
    found = dict(stills(path, instants, gops=gops))
    for number, seconds in enumerate(instants):
        first = round(10 * max(start for start in starts if start <= seconds))
        assert abs(found[number].mean() - images[first].mean()) < 2, number


def test_what_is_high_and_narrow_fits_too(own_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "tower.mp4"
    write_h264(path, [np.full((1600, 16, 3), 90, np.uint8)] * 4, 4)
    own_engine.register(path)
    content = own_engine.footage("tower.mp4").sprite(200, 320)
    assert Image.open(io.BytesIO(content)).size == (3 * 10, 320 * 20)


def test_what_is_damaged_is_left_out(tmp_path: Path) -> None:
    images = [np.full((64, 64, 3), 40 + 3 * n, np.uint8) for n in range(40)]
    path = tmp_path / "clip.ts"
    write_h264(path, images, 10, gop=10, bframes=0)
    gops = index_gops(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = dict(stills(path, [0.5, 1.5, 2.5, 3.5], gops=gops))
    assert 0 in found
    assert 3 not in found


def test_activity_is_what_vectors_say(client: TestClient, engine: Engine, made: Made) -> None:
    told = client.get("/videos/2/activity").json()
    rows = engine.store.rows(engine.space, [2], ("seconds", "embedding"))
    vectors = np.array(rows.column("embedding").to_pylist(), np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [0.0, *(1 - (a * b).sum() for a, b in pairwise(vectors))]
    assert told["seconds"] == rows.column("seconds").to_pylist()
    assert told["change"] == pytest.approx(expected, abs=1e-4)
    seconds = subprocess.run(
        ["ffprobe", "-v", "0", "-of", "json", "-show_format", made.clips / "two.mp4"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert told["duration_seconds"] == pytest.approx(
        float(json.loads(seconds)["format"]["duration"]), abs=0.05
    )
    few = client.get("/videos/2/activity?points=3").json()
    assert len(few["change"]) <= 3
    assert max(few["change"]) == max(told["change"])
