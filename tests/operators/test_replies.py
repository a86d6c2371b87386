"""A kept reply is what would be answered now, whatever happened since it was given."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.operators.base import Reply
from engine.operators.replies import Replies
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from tests.search.test_nearest import SPACE

CHANGES = ["ask", "ask", "ask", "exact", "again", "finer", "remove", "file", "damage"]


class Shelf:
    """One video in a store with a file, whose answer is a digest of all that it may rest on."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked, self.draw = root, 0, np.random.default_rng(0)
        self.store = Store.open(root / "data")
        self.store.catalog.add_space(SPACE)
        self.file = root / "v.mp4"
        self.file.write_bytes(b"0")
        self.write(2)

    def write(self, fps: int) -> None:
        """Embed the video, which may be there already."""
        info = VideoInfo(str(self.file), "h264", 64, 48, 0, 30.0, 2.0, 0.0, 60, 1, "yuv420p", False)
        self.video = self.store.catalog.add_video(info, "content", "v")
        numbers, flat = np.arange(4, dtype=np.int32), np.zeros(4, np.float32)
        rows = Rows(numbers, numbers / fps, ["P"] * 4, self.vectors(), flat, flat, flat > 0)
        key = (self.video, SPACE.key, Sampling(fps), "reusevit")
        self.store.write_part(*key, 0, 0.0, 2.0, rows)
        self.store.finish_segment(*key, 4)

    def vectors(self) -> np.ndarray:
        drawn = self.draw.standard_normal((4, 32))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    def change(self, what: str) -> None:
        """Do one thing to the rows or the file."""
        if what == "exact":
            frames = self.store.rows(SPACE.key).column("frame").to_numpy()[:2]
            self.store.supersede(SPACE.key, self.video, frames, self.vectors()[: len(frames)])
        elif what in ("again", "finer"):
            self.write(2 if what == "again" else 4)
        elif what == "remove":
            self.store.catalog.remove_video(self.video)
            self.write(2)
        elif what == "file":
            self.file.write_bytes(self.file.read_bytes() + b"0")
        elif what == "damage":
            for part in sorted(self.root.rglob("*.parquet"))[:1]:
                part.write_bytes(b"nothing")
            self.store.close()
            self.store = Store.open(self.root / "data")
            self.store.embedded_spans(self.video, SPACE.key, Sampling(2))

    def answer(self) -> Reply:
        """What the video answers now."""
        rows = self.store.rows(SPACE.key, columns=["row_id", "embedding"])
        return Reply(f"{rows.to_pylist()} {self.file.stat().st_size}", 0.5, 0.0, 1.0)

    def ask(self) -> Reply:
        self.asked += 1
        return self.answer()


@given(st.lists(st.sampled_from(CHANGES), max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_kept_reply_is_what_would_be_answered_now(
    tmp_path_factory: object, changes: list[str]
) -> None:
    shelf, replies = Shelf(tmp_path_factory.mktemp("shelf")), Replies()  # type: ignore[attr-defined]
    for what in ["ask", *changes, "ask"]:
        shelf.change(what)
        question = (shelf.video, "what?", None)
        assert replies.get(shelf.store, SPACE.key, question, shelf.ask) == shelf.answer()
    assert shelf.asked <= 1 + sum(what != "ask" for what in changes)
    shelf.store.close()


def test_each_question_and_choice_is_another(tmp_path: Path) -> None:
    shelf, replies = Shelf(tmp_path), Replies(most=3)
    asked = [
        (shelf.video, question, choices)
        for question in ("what?", "who?")
        for choices in (None, ("a", "b"))
    ]
    for question in (*asked[:3], *asked[:3]):
        replies.get(shelf.store, SPACE.key, question, shelf.ask)
    assert (shelf.asked, len(replies)) == (3, 3)
    replies.get(shelf.store, SPACE.key, asked[3], shelf.ask)
    replies.get(shelf.store, SPACE.key, asked[1], shelf.ask)
    assert (shelf.asked, len(replies)) == (4, 3)
    replies.get(shelf.store, SPACE.key, asked[0], shelf.ask)  # the one that was used last before
    assert shelf.asked == 5
    shelf.store.close()


def test_what_changes_while_it_is_asked_is_not_kept(tmp_path: Path) -> None:
    shelf, replies = Shelf(tmp_path), Replies()

    def slow() -> Reply:
        reply = shelf.ask()
        shelf.change("exact")
        return reply

    question = (shelf.video, "what?", None)
    replies.get(shelf.store, SPACE.key, question, slow)
    assert replies.get(shelf.store, SPACE.key, question, shelf.ask) == shelf.answer()
    assert shelf.asked == 2
    shelf.store.close()
