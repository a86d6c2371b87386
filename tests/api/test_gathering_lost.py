"""Shards that are lost, slow, of another model or not allowed: named, never left out in silence."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.config import ServerSettings
from api.gathering.app import create_gathering_app
from engine.errors import UsageError
from engine.session import Engine
from engine.sharding.shards import LostShardsError, Shard, Shards, read_shards
from tests.api.conftest import URL, Made, serving
from tests.api.sharded import PATIENT, Sharded, fake_videos, sharded, store_videos

SQL = {"sql": "SELECT video_id, frame FROM frames ORDER BY seconds LIMIT 3"}


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharded]:
    with sharded(tmp_path_factory.mktemp("shards"), shards=2, videos=6) as made:
        yield made


@contextmanager
def before(*urls: str, keys: str = "") -> Iterator[TestClient]:
    """A server of shards."""
    settings = ServerSettings(shards=",".join(urls), api_keys=keys, **PATIENT)
    with TestClient(create_gathering_app(settings), base_url=URL) as client:
        yield client


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as held:

        def take() -> None:
            try:
                while True:
                    held.enter_context(listener.accept()[0])
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_lost_shard_is_named_and_nothing_is_called_complete(spread: Sharded) -> None:
    with before(*spread.urls, "gone=http://127.0.0.1:9") as client:
        found = client.post("/query", json={"text": "a star"}).json()
        alone = spread.client.post("/query", json={"text": "a star"}).json()
        assert found["moments"] == alone["moments"] != []
        assert (alone["coverage"]["complete"], found["coverage"]["complete"]) == (True, False)
        assert found["coverage"]["num_lacking"] == 1
        assert found["coverage"]["lacking"][0].startswith("shard gone: ")
        assert found["caution"].startswith("1 of 3 shards gave no answer")
        states = {each["name"]: each["state"] for each in found["shards"]}
        assert states == {"s0": "answered", "s1": "answered", "gone": "lost"}
        for path in ("/videos/ids", "/videos/20000000001", "/readyz"):
            told = client.get(path)
            assert told.status_code in (502, 503)
            assert "gone" in told.json()["detail"]
        rows = client.post("/sql", json=SQL)  # which have no place to say that some are lacking
        assert (rows.status_code, "gone" in rows.json()["detail"]) == (502, True)
        listed = client.get("/shards").json()
        assert [each["facts"] is None for each in listed] == [False, False, True]


def test_a_slow_shard_is_named_and_others_are_not(spread: Sharded) -> None:
    """Whether it takes the connection and says nothing, or has been at it for too long."""
    free = threading.Event()
    with silent() as url:
        shards = Shards(read_shards(f"slow={url},busy=http://127.0.0.1:9,quick=http://[::1]"), 2.0)

        def call(shard: Shard) -> object:
            if shard.name == "slow":
                return shards.calls(shard, None, 0.2).json("GET", "/shard")
            return free.wait(60) if shard.name == "busy" else True

        with pytest.raises(LostShardsError) as raised:
            shards.each(shards.all, call)
        free.set()
        shards.close()
    reasons = {shard.name: why for shard, why in raised.value.reasons.items()}
    assert reasons == {"slow": "does not answer in time", "busy": "no answer within 2 s"}


def test_without_any_shard_there_is_no_answer() -> None:
    with before("a=http://127.0.0.1:9", "b=http://127.0.0.1:10") as client:
        answer = client.post("/query", json={"text": "a star"})
        assert answer.status_code == 502
        assert "a: " in answer.json()["detail"]
        assert "b: " in answer.json()["detail"]


def test_what_cannot_be_merged_is_refused(spread: Sharded, tmp_path: Path) -> None:
    with Engine.open(tmp_path / "other", device="cpu", near_duplicate=0.5) as engine:
        store_videos(engine, fake_videos(engine, 2, 5))
        settings = ServerSettings()
        with serving(create_app(engine.load(), settings), settings) as port:
            with before(*spread.urls, f"odd=http://127.0.0.1:{port}") as client:
                answer = client.post("/query", json={"text": "a star"})
                said = answer.json()["detail"]
                assert answer.status_code == 503
                assert "near_duplicate is 0.995 in s0, 0.5 in odd" in said
            twice = spread.urls[0].replace("s0=", "again=").replace("127.0.0.1", "localhost")
            with before(*spread.urls, twice) as client:
                said = client.post("/query", json={"text": "a star"}).json()["detail"]
                assert said == "shards s0, again are one store; allowed: each once"


def test_videos_are_meant_by_ids_names_and_shards(spread: Sharded) -> None:
    def named(*videos: int | str) -> set[str]:
        asked = {"text": "a", "top_k": 50, "videos": list(videos), "group_by": "video"}
        answer = spread.client.post("/query", json=asked)
        assert answer.status_code == 200, answer.text
        return {moment["name"] for moment in answer.json()["moments"]}

    ids = {name: video_id for video_id, name in spread.names.items()}
    assert named(ids["v4.mp4"]) == {"v4.mp4"}
    assert named(ids["v0.mp4"], "v5*") == {"v0.mp4", "v5.mp4"}
    assert named("s1:*") == {"v3.mp4", "v4.mp4", "v5.mp4"}
    for absent in ("nobody.mp4", "s0:v5.mp4", 10_000_000_099, 70_000_000_001):
        answer = spread.client.post("/query", json={"text": "a", "videos": [absent]})
        assert answer.status_code == 404, absent
    pages, cursor = [], None
    while True:
        given = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = spread.client.get("/videos", params=given).json()
        pages += [(video["id"], video["name"]) for video in page["videos"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert dict(pages) == spread.names
    assert [each[0] for each in pages] == sorted(ids.values())
    assert spread.client.get("/videos/ids").json()["ids"] == sorted(ids.values())
    shown = spread.client.get("/videos/named", params={"name": "s1:v3.mp4"}).json()
    assert (shown["id"], shown["name"]) == (ids["v3.mp4"], "v3.mp4")
    curve = spread.client.get(f"/videos/{ids['v3.mp4']}/curve", params={"text": "a star"}).json()
    video = spread.shards["s1"].video("v3.mp4")
    assert (curve["video_id"], curve["duration_seconds"]) == (
        ids["v3.mp4"],
        video.duration_seconds,
    )


@pytest.mark.parametrize(
    "body",
    [
        {"text": "a", "mode": "qa"},
        {"text": "a", "spaces": ["x"]},
        {"text": "a", "where": "video_id = 3"},
        {"text": "a", "where": "nobody = 3"},
    ],
)
def test_what_is_of_one_process_is_refused(spread: Sharded, body: dict[str, object]) -> None:
    answer = spread.client.post("/query", json=body)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["detail"]


def test_a_shard_that_changes_meanwhile_answers_of_one_moment(spread: Sharded) -> None:
    """Another snapshot is named once its rows have changed, and the rest stays as it was."""
    asked = {"text": "a star", "videos": ["s0:*"]}
    first = spread.client.post("/query", json=asked).json()
    engine = spread.shards["s1"]
    before_it = engine.snapshot()
    extra = fake_videos(engine, 8, 11)[-1]
    store_videos(engine, [extra])
    second = spread.client.post("/query", json=asked).json()
    one, two = ({s["name"]: s["snapshot"] for s in each["shards"]} for each in (first, second))
    assert one["s0"] == two["s0"]
    assert (one["s1"], two["s1"]) == (before_it, engine.snapshot())
    assert one["s1"] != two["s1"]
    engine.remove(extra.name)


def test_keys_are_passed_on_and_pictures_come_from_the_shard(made: Made, engine: Engine) -> None:
    settings = ServerSettings(api_keys="lab=read:oneone,other=read:twotwo")
    auth = {"Authorization": "Bearer oneone"}
    with serving(create_app(engine.load(), settings), settings) as port:
        shard = f"clips=http://127.0.0.1:{port}"
        with (
            before(shard, keys="lab=read:oneone,stranger=read:threes") as client,
            TestClient(create_app(engine, settings), base_url=URL, headers=auth) as direct,
        ):
            assert client.post("/query", json={"text": made.text}).status_code == 401
            strange = {"Authorization": "Bearer threes"}
            refused = client.post("/query", json={"text": made.text}, headers=strange)
            assert refused.status_code == 400
            assert "threes" not in refused.text
            found = client.post("/query", json={"text": made.text}, headers=auth).json()
            [best, *_] = found["moments"]
            expected = direct.post("/query", json={"text": made.text}).json()["moments"][0]
            assert best == expected  # of the first shard the ids are its own
            for path in (best["thumbnail_url"], best["clip_url"]):
                ours, theirs = client.get(path, headers=auth), direct.get(path)
                assert (ours.status_code, ours.content) == (200, theirs.content)
                kept = {**auth, "If-None-Match": ours.headers["etag"]}
                assert client.get(path, headers=kept).status_code == 304
            part = client.get(best["clip_url"], headers={**auth, "Range": "bytes=10-19"})
            assert (part.status_code, part.content) == (206, theirs.content[10:20])
            missing = client.get("/videos/99/frames/1.0.jpg", headers=auth)
            assert missing.status_code == 404
            assert missing.headers["content-type"] == "application/problem+json"
            elsewhere = client.get("/jobs", headers=auth)
            assert elsewhere.status_code == 404
            assert "a shard itself" in elsewhere.json()["detail"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://a", "allowed: URL or NAME=URL"),
        ("a=http://u:secret@h", "allowed: URL or NAME=URL"),
        ("a=http://h,a=http://i", "two shards have the name a"),
        ("a=http://h,b=http://h/", "two shards have the url"),
        ("a b=http://h", "shard name 'a b'"),
        ("a=http://h:x", "allowed: URL or NAME=URL"),
        (",", "allowed: URL or NAME=URL"),
    ],
)
def test_shards_that_are_none_are_refused(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        read_shards(given)
    assert "secret" not in str(raised.value)
