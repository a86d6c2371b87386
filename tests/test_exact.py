"""A query on approximate rows answers as one on exact rows does, and makes few of them exact."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.ask import ask
from engine.asking.asked import AskedQuestion
from engine.asking.builtin import BuiltinSteps, Heads
from engine.cage.sandbox import Sandbox
from engine.errors import VideoError
from engine.operators.base import Context, Reply
from engine.query import GroupBy, Moment, QueryResult, query
from engine.search.average import mean_frame
from engine.search.context import Background
from engine.search.options import Options
from engine.search.reading import Reading
from engine.search.work import Embedded
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space
from tests.asking import hash_vector

VIDEOS, FRAMES, WIDTH = 10, 40, 32
SPACE = Space("hash", "hash", "local", "0" * 64, "{}", WIDTH)
TEXTS = [f"text {number}" for number in range(4)]
GROUPS: tuple[GroupBy, ...] = ("moment", "video", "frame")


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def shown(random: np.random.Generator) -> NDArray[np.float32]:
    """The frames of a video that shows some of the texts for 5 to 10 s each, one after another."""
    scene = random.standard_normal(WIDTH)
    frames = np.tile(scene / np.linalg.norm(scene), (FRAMES, 1))
    start = 0
    while start < FRAMES:
        stop = start + int(random.integers(10, 21))
        frames[start:stop] += random.uniform(0.6, 1.4) * hash_vector(
            str(random.choice(TEXTS)).encode()
        )
        start = stop
    return unit(frames + 0.03 * random.standard_normal(frames.shape))


@dataclass
class Stored:
    """The same videos twice: as a strategy with reuse left them, and exact."""

    approximate: Store
    exact: Store
    frames: dict[int, NDArray[np.float32]]
    gone: frozenset[int] = frozenset()  # videos whose files cannot be read

    def redecode(self, video_id: int, frames: Sequence[int]) -> list[NDArray[np.uint8]]:
        """A picture tells which one it is."""
        if video_id in self.gone:
            raise VideoError("gone", path=str(video_id))
        return [np.array([[[video_id, frame, 0]]], np.uint8) for frame in frames]

    def embed_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """The exact vectors."""
        places = [image[0, 0] for image in images]
        return np.stack([self.frames[int(video)][int(frame)] for video, frame, _ in places])

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts."""
        return np.stack([hash_vector(text.encode()) for text in texts])

    def context(self, store: Store, sandbox: Sandbox, **options: float) -> Context:
        return Context(
            reading=Reading(store, SPACE.key),
            encoder=self,
            sandbox=sandbox,
            background=lambda: Background(()),
            embed=lambda *_: Embedded(),
            respond=lambda *_: Reply("", 0.0, 0.0, 0.0),
            redecode=self.redecode,
            options=Options().override(options),
        )


def write(store: Store, number: int, vectors: NDArray[np.float32], drift: float | None) -> int:
    """Store a video's vectors, exact where no drift is given."""
    info = VideoInfo("/v.mp4", "h264", 64, 48, 0, 30.0, 20.0, 0.0, 600, 1, "yuv420p", False)
    video_id = store.catalog.add_video(info, f"hash {number}", f"v{number}.mp4")
    count = len(vectors)
    frames = np.arange(count, dtype=np.int32)
    drifts = np.full(count, drift or 0.0, np.float32)
    known = np.full(count, drift is None)
    rows = Rows(frames, frames / 2, ["P"] * count, vectors, drifts, drifts, known)
    key = (video_id, SPACE.key, Sampling(2), "earlygate")
    store.write_part(*key, 0, 0.0, 20.0, rows)
    store.finish_segment(*key, count)
    return video_id


@pytest.fixture(scope="module")
def written(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[int, NDArray[np.float32]]]:
    """Both stores in a folder, to be copied, and the vectors."""
    folder, random = tmp_path_factory.mktemp("written"), np.random.default_rng(0)
    frames = {}
    with Store.open(folder / "near") as near, Store.open(folder / "exact") as exact:
        for store in (near, exact):
            store.catalog.add_space(SPACE)
        for number in range(VIDEOS):
            vectors = shown(random)
            off = unit(random.standard_normal(vectors.shape)) * np.sqrt(2 * 0.01)
            video_id = write(near, number, unit(vectors + off), 0.01)
            assert write(exact, number, vectors, None) == video_id
            frames[video_id] = vectors
    return folder, frames


@pytest.fixture
def stored(
    written: tuple[Path, dict[int, NDArray[np.float32]]], tmp_path: Path
) -> Iterator[Stored]:
    root, frames = shutil.copytree(written[0], tmp_path / "stores"), written[1]
    with Store.open(root / "near") as near, Store.open(root / "exact") as exact:
        yield Stored(near, exact, dict(frames))


def told(moments: Sequence[Moment]) -> list[tuple[object, ...]]:
    return [
        (m.name, m.start_seconds, m.stop_seconds, m.peak_seconds, round(m.score, 3))
        for m in moments
    ]


def test_answers_say_whether_their_edges_may_move(stored: Stored, sandbox: Sandbox) -> None:
    for store, may_move in ((stored.approximate, True), (stored.exact, False)):
        for min_score in (None, 0.1):
            context = stored.context(store, sandbox)
            found = query(context, TEXTS[0], top_k=3, min_score=min_score)
            assert found.moments
            assert found.coverage.edges_may_move == may_move
    frames = query(stored.context(stored.approximate, sandbox), TEXTS[0], top_k=3, group_by="frame")
    assert not frames.coverage.edges_may_move


@pytest.mark.parametrize("exact", [None, True])
@pytest.mark.parametrize("seed", range(2))
def test_other_queries_move_no_edge_of_an_answer_that_says_so(
    exact: bool | None,
    seed: int,
    stored: Stored,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.search.average.SAMPLE", 40)
    random = np.random.default_rng(seed)
    given = {} if exact is None else {"exact": exact}

    def asked(text: str, store: Store, **wanted: Any) -> QueryResult:
        return query(stored.context(store, sandbox, **given), text, **wanted)

    def drawn() -> tuple[str, dict[str, Any]]:
        cut = random.choice([None, 0.1, 0.3])
        group = GROUPS[int(random.integers(2))]
        wanted = {"top_k": int(random.integers(1, 4)), "group_by": group, "min_score": cut}
        return str(random.choice(TEXTS)), wanted

    text, wanted = drawn()
    first = asked(text, stored.approximate, **wanted)
    for _ in range(int(random.integers(1, 5))):
        other, how = drawn()
        asked(other, stored.approximate, **how)
    again = asked(text, stored.approximate, **wanted)
    assert first.coverage.complete
    if exact:
        assert not first.coverage.edges_may_move
    if not first.coverage.edges_may_move:
        assert told(again.moments) == told(first.moments)
        assert told(first.moments) == told(asked(text, stored.exact, **wanted).moments)
    assert not stored.approximate.view(SPACE.key).frames.all_exact  # else nothing was shown


@pytest.mark.parametrize("exact", [None, False])
def test_the_average_stays_while_rows_become_exact(
    exact: bool | None, stored: Stored, sandbox: Sandbox
) -> None:
    given = {} if exact is None else {"exact": exact}
    context = stored.context(stored.approximate, sandbox, **given)
    first = mean_frame(context, None)
    for text in TEXTS:
        query(stored.context(stored.approximate, sandbox), text, top_k=3)
    again = mean_frame(stored.context(stored.approximate, sandbox, **given), None)
    assert np.array_equal(first.vector, again.vector)
    assert not first.final
    assert mean_frame(stored.context(stored.exact, sandbox), None).final


@pytest.mark.parametrize("group_by", GROUPS)
@pytest.mark.parametrize(("top_k", "share"), [(1, 0.1), (4, 0.18)])
def test_answers_are_those_of_exact_rows(
    stored: Stored, sandbox: Sandbox, group_by: GroupBy, top_k: int, share: float
) -> None:
    refined = 0
    for text in TEXTS:
        near = stored.context(stored.approximate, sandbox)
        found = query(near, text, top_k=top_k, group_by=group_by)
        true = query(stored.context(stored.exact, sandbox), text, top_k=top_k, group_by=group_by)
        assert told(found.moments) == told(true.moments)
        assert found.coverage.complete
        assert true.coverage.refined == 0
        warm = stored.context(stored.approximate, sandbox)
        again = query(warm, text, top_k=top_k, group_by=group_by)
        assert told(again.moments) == told(found.moments)
        assert again.coverage.refined == 0
        refined += found.coverage.refined
    assert refined <= share * VIDEOS * FRAMES * len(TEXTS)


def test_a_cut_of_ones_own_is_held_exactly(stored: Stored, sandbox: Sandbox) -> None:
    for text in TEXTS[:3]:
        near, exact = (
            query(stored.context(store, sandbox), text, top_k=50, min_score=0.5)
            for store in (stored.approximate, stored.exact)
        )
        assert told(near.moments) == told(exact.moments) != []


def test_what_cannot_be_made_exact_is_said(stored: Stored, sandbox: Sandbox) -> None:
    short = query(stored.context(stored.approximate, sandbox, refine_frames=50), TEXTS[0])
    assert not short.coverage.complete
    left = stored.context(stored.approximate, sandbox, exact=False)
    assert query(left, TEXTS[0]).coverage.refined == 0
    stored.gone = frozenset(stored.frames)
    found = query(stored.context(stored.approximate, sandbox), TEXTS[1])
    assert found.moments
    assert not found.coverage.complete


def test_a_question_of_few_videos_makes_nothing_exact(stored: Stored, sandbox: Sandbox) -> None:
    asked = stored.context(stored.approximate, sandbox)
    choices, five = ("text 0", "text 1"), [f"v{number}.mp4" for number in range(5)]
    ask(asked, BuiltinSteps(AskedQuestion("what?", choices, five), Heads()))
    assert asked.work.refined == []
    ask(asked, BuiltinSteps(AskedQuestion("what?", choices), Heads()))
    assert asked.work.refined[0].complete
    assert 0 < asked.work.refined[0].rows < VIDEOS * FRAMES / 2
