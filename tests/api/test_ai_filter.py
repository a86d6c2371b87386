"""AI_FILTER by the built-in reader and by a server: through an engine, on real frames."""

from pathlib import Path

from engine import Engine
from tests.chat_server import said, serving

SQL = "SELECT video_id, frame FROM frames WHERE AI_FILTER(frame, 'is there a star?') ORDER BY ALL"


def test_the_builtin_reader_looks_at_each_frame(own_engine: Engine) -> None:
    found = own_engine.sql(SQL).rows()
    heads = own_engine._contexts.heads
    assert heads.patch_reader is not None
    from engine.answering.look import BuiltinLooker
    from engine.ingest import redecode
    from engine.search.inquiry import YesNo

    store, space = own_engine.store, own_engine.space
    expected = []
    for video in store.catalog.videos():
        frames = sorted(store.rows(space, [video.video_id], ["frame"]).column("frame").to_pylist())
        images = redecode(store, space, video.video_id, frames)
        asked = [([image], YesNo("is there a star?")) for image in images]
        says = BuiltinLooker(heads.patch_reader).answers(asked)
        expected += [
            {"video_id": video.video_id, "frame": frame}
            for frame, yes in zip(frames, says, strict=True)
            if yes
        ]
    assert found == expected
    did = own_engine.explain(SQL, analyze=True)
    count = len(store.rows(space, columns=["frame"]))
    assert f"asked: {count} of {count} frames, {count} known from before" in did


def test_a_server_is_asked_where_one_is_named(data: Path) -> None:
    with serving(lambda asked: said("yes" if asked.body["model"] == "sees" else "no")) as (
        url,
        came,
    ):
        looker = {"looker_url": url, "looker_model": "sees", "looker_key": "k"}
        with Engine.open(data, device="cpu", **looker) as one:
            rows = one.sql(SQL).rows()
            assert len(rows) == len(one.store.rows(one.space, columns=["frame"]))
            pictures = {asked.pictures[0].tobytes() for asked in came}
            assert len(rows) >= len(came) == len(pictures) > 1
            assert {asked.key for asked in came} == {"Bearer k"}
            assert "Bearer" not in repr(one.settings)
            assert "looker_key=SecretStr('**********')" in repr(one.settings)
    with Engine.open(data, device="cpu", **looker) as another:  # the server has gone
        assert another.sql(SQL).rows() == rows
