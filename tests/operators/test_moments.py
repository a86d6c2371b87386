"""Moments against their definition, frame by frame in plain Python, whatever the index."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cage.sandbox import Sandbox
from engine.errors import EngineError
from engine.sql import run_sql
from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.storage.tuning import Tuning
from engine.video.container import VideoInfo
from engine.video.gop import Gop
from tests.asking import hash_vector
from tests.search.test_nearest import SPACE, context_of

VIDEOS, FRAMES = 7, 40
Times = tuple[float, float]


def vectors_of(video: int) -> np.ndarray:
    """Frames whose likeness to a dog, and less so to a cat, comes and goes."""
    draw = np.random.default_rng(video)
    dog, cat = (np.cumsum(draw.normal(0, 0.3, FRAMES))[:, None] for _ in range(2))
    drawn = draw.standard_normal((FRAMES, 32)) / 4
    drawn += dog * hash_vector(b"a dog") + cat * hash_vector(b"a cat")
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module", params=["flat", "lists", "delta"])
def kept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The same frames in each kind of index."""
    tuning = Tuning(flat_rows=10**6 if request.param == "flat" else 50)
    folder: Path = tmp_path_factory.mktemp(request.param) / "data"
    with Store.open(folder, tuning=tuning) as store:
        store.catalog.add_space(SPACE)
        for video in range(1, VIDEOS + 1):
            info = VideoInfo(
                f"/{video}", "h264", 64, 48, 0, 30.0, 20.0, 0.0, 600, video, "yuv420p", False
            )
            store.catalog.add_video(info, f"{video}", f"{video}")
            store.catalog.add_gops(video, [Gop(0, 0.0, 20.0, 600, 0)])
            numbers, flat = np.arange(FRAMES, dtype=np.int32), np.zeros(FRAMES, np.float32)
            exact = np.ones(FRAMES, bool)
            rows = Rows(numbers, numbers / 2, ["P"] * FRAMES, vectors_of(video), flat, flat, exact)
            store.write_part(video, SPACE.key, Sampling(2), "dense", 0, 0.0, 20.0, rows)
            store.finish_segment(video, SPACE.key, Sampling(2), "dense", FRAMES)
            if request.param != "delta" or video == 4:
                store.build_index(SPACE.key)
        yield store


def spans_of(scores: list[float], cut: float, gap: float) -> list[tuple[float, float, float]]:
    """Start, stop and best score of each run of hits; every frame is shown for half a second."""
    found: list[tuple[float, float, float]] = []
    for number, score in enumerate(scores):
        if score < cut:
            continue
        start, stop = number / 2, number / 2 + 0.5
        if found and start - found[-1][1] <= gap:
            found[-1] = (found[-1][0], stop, max(found[-1][2], score))
        else:
            found.append((start, stop, score))
    return found


def sequences_of(rows: list[list[tuple[float, float, float]]]) -> list[tuple[float, float, float]]:
    """Of each first span the first followers that start later, one of each row."""
    found = []
    for first in rows[0]:
        ends = sequences_of(rows[1:]) if rows[1:] else [(first[0], first[1], first[2])]
        later = [end for end in ends if not rows[1:] or end[0] > first[0]]
        if later:
            best = min(later)
            found.append((first[0], max(first[1], best[1]), min(first[2], best[2])))
    return found


@given(
    st.floats(-0.9, 0.9), st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.booleans(), st.integers(0, 7)
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_moments_are_what_their_definition_says(
    kept: Store, sandbox: Sandbox, cut: float, gap: float, two: bool, most: int
) -> None:
    texts = ["a dog", "a cat"] if two else ["a dog"]
    expected = []
    for video in range(1, most + 1):
        stored = vectors_of(video).astype(np.float16).astype(np.float32)
        scores = [(stored @ hash_vector(text.encode())).tolist() for text in texts]
        if any(abs(score - cut) < 1e-5 for row in scores for score in row):
            return
        found = sequences_of([spans_of(row, cut, gap) for row in scores])
        expected += [(video, *span) for span in found]
    text = "' THEN '".join(texts)
    sql = (
        f"SELECT video_id, start_seconds, stop_seconds, score FROM moments('{text}',"
        f" min_score => {cut:.9f}, gap => {gap}) WHERE video_id <= {most}"
    )
    rows = run_sql(context_of(kept, sandbox), sql, max_rows=1000).rows()
    given_rows = sorted(tuple(row.values()) for row in rows)
    assert [row[:3] for row in given_rows] == [row[:3] for row in sorted(expected)]
    assert [row[3] for row in given_rows] == pytest.approx(
        [row[3] for row in sorted(expected)], abs=1e-5
    )


SHOWN = [  # what a frame shows, by its scores for a dog and a cat
    ("'a dog' AND 'a cat'", lambda d, c, cut: (d >= cut and c >= cut, min(d, c))),
    ("'a dog' OR 'a cat'", lambda d, c, cut: (d >= cut or c >= cut, max(d, c))),
    ("'a dog' AND NOT 'a cat'", lambda d, c, cut: (d >= cut and c < cut, d)),
    ("NOT 'a dog'", lambda d, _, cut: (d < cut, -d)),
    ("NOT ('a dog' OR 'a cat')", lambda d, c, cut: (d < cut and c < cut, -max(d, c))),
    ("'a cat' OR NOT 'a dog'", lambda d, c, cut: (c >= cut or d < cut, c)),
]  # fmt: skip
Found = tuple[int, float, float, float]


def shown_spans(video: int, told: Callable[..., tuple[bool, float]], cut: float) -> list[Found]:
    """The spans of a video by what its frames show, gap 1."""
    stored = vectors_of(video).astype(np.float16).astype(np.float32)
    dog, cat = ((stored @ hash_vector(text)).tolist() for text in (b"a dog", b"a cat"))
    frames = [told(d, c, cut) for d, c in zip(dog, cat, strict=True)]
    curve = [score if hit else -9.0 for hit, score in frames]
    return [(video, *span) for span in spans_of(curve, -8.0, 1.0)]


@pytest.mark.parametrize(("written", "told"), SHOWN)
def test_texts_together(
    kept: Store, sandbox: Sandbox, written: str, told: Callable[..., tuple[bool, float]]
) -> None:
    wanted = [s for v in range(1, VIDEOS + 1) for s in shown_spans(v, told, 0.15)]
    given_rows = found_by(kept, sandbox, f"{written}, min_score => 0.15, gap => 1")
    assert [row[:3] for row in given_rows] == [row[:3] for row in wanted]
    assert [row[3] for row in given_rows] == pytest.approx([s[3] for s in wanted], abs=1e-4)
    lasting = found_by(kept, sandbox, f"{written}, min_score => 0.15, gap => 1, min_duration => 3")
    assert [row[:3] for row in lasting] == [row[:3] for row in wanted if row[2] - row[1] >= 3]
    best = sorted(wanted, key=lambda row: -row[3])[:4]
    given_best = found_by(kept, sandbox, f"{written}, min_score => 0.15, gap => 1, top_k => 4")
    assert [row[:3] for row in given_best] == sorted(row[:3] for row in best)


def test_the_best_are_chosen_before_conditions_and_joins(kept: Store, sandbox: Sandbox) -> None:
    best = found_by(kept, sandbox, "'a dog', min_score => 0.1, top_k => 3")
    videos = {row[0] for row in best}
    for video in range(1, VIDEOS + 1):
        own = found_by(
            kept, sandbox, "'a dog', min_score => 0.1, top_k => 3", f" WHERE video_id = {video}"
        )
        assert own == [row for row in best if row[0] == video]
    joined = (
        "SELECT m.video_id FROM moments('a dog', min_score => 0.1, top_k => 3) m JOIN videos v"
        " USING (video_id) WHERE v.name = '2'"
    )
    rows = run_sql(context_of(kept, sandbox), joined, max_rows=1000).rows()
    assert len(rows) == sum(row[0] == 2 for row in best)
    assert videos


def test_each_step_has_its_own_span(kept: Store, sandbox: Sandbox) -> None:
    texts = "('a dog' AND NOT 'a cat') THEN 'a cat'"
    sql = (
        "SELECT start_seconds, score, steps, steps[2].start_seconds AS second"
        f" FROM moments({texts}, min_score => 0.1)"
    )
    rows = run_sql(context_of(kept, sandbox), sql, max_rows=1000).rows()
    assert rows
    for row in rows:
        first, second = row["steps"]
        assert row["start_seconds"] == first["start_seconds"] < second["start_seconds"]
        assert row["second"] == second["start_seconds"]
        assert row["score"] == min(first["score"], second["score"])
        assert first["start_seconds"] <= first["peak_seconds"] < first["stop_seconds"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'a', top_k => 0", "top_k is a whole number, at least 1, got 0"),
        ("'a', top_k => 1.5", "top_k is a whole number, at least 1, got 1.5"),
        ("'a', min_duration => -1", "min_duration is in seconds, at least 0, got -1"),
        ("'a' AND 5", "expected moments"),
    ],
)
def test_arguments_that_cannot_be_meant(
    kept: Store, sandbox: Sandbox, arguments: str, said: str
) -> None:
    with pytest.raises(EngineError, match=said):
        found_by(kept, sandbox, arguments)


def found_by(kept: Store, sandbox: Sandbox, arguments: str, where: str = "") -> list[Found]:
    """What `moments` gives, in order of video and time."""
    sql = f"SELECT video_id, start_seconds, stop_seconds, score FROM moments({arguments})"
    sql += where
    rows = run_sql(context_of(kept, sandbox), f"{sql} ORDER BY ALL", max_rows=1000).rows()
    return [tuple(row.values()) for row in rows]


RULES = "(VALUES ('high', 'a dog'), ('low', 'a cat'), ('low', 'a dog'), ('none', NULL)) r(level, t)"
CALLS = [
    f", min_score => 0.1{more}" for more in ("", ", top_k => 3, gap => 2", ", min_duration => 1")
]


@pytest.mark.parametrize("told", CALLS)
def test_texts_of_a_query_are_each_asked_for_alone(
    kept: Store, sandbox: Sandbox, told: str
) -> None:
    """As one statement for each text gives them."""

    def rows(sql: str) -> list[tuple[object, ...]]:
        found = run_sql(context_of(kept, sandbox), sql, max_rows=1000).rows()
        return sorted(tuple(map(repr, row.values())) for row in found)

    alone = [
        row
        for text in ("a cat", "a dog")
        for row in rows(f"SELECT *, '{text}' AS text FROM moments('{text}'{told})")
    ]
    assert alone
    for texts in ("['a cat', 'a dog', 'a cat']", f"(SELECT t FROM {RULES})"):
        assert rows(f"SELECT * FROM moments({texts}{told})") == sorted(alone)
    assert rows(
        f"WITH r AS (SELECT * FROM {RULES}), m AS (SELECT * FROM moments((SELECT t FROM r"
        f" WHERE level = 'high'){told})) SELECT r.level, m.video_id, m.score FROM m JOIN r"
        " ON m.text = r.t WHERE m.video_id < 5 AND m.text LIKE '%dog'"
    ) == rows(
        f"SELECT r.level, m.video_id, m.score FROM moments('a dog'{told}) m, {RULES}"
        " WHERE r.t = 'a dog' AND m.video_id < 5"
    )


def test_a_query_that_gives_no_text_gives_no_moment(kept: Store, sandbox: Sandbox) -> None:
    for texts in ("[]", f"(SELECT t FROM {RULES} WHERE level = 'none')"):
        sql = f"SELECT text, score FROM moments -- each\n( /* all */ {texts})"
        table = run_sql(context_of(kept, sandbox), sql, max_rows=10).table
        assert (table.num_rows, table.schema.names) == (0, ["text", "score"])


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ("(SELECT video_id FROM videos)", "texts; its query gave 1"),
        ("(SELECT 'a ' || i FROM range(101) t(i))", "its query gave more"),
        ("(SELECT name FROM nowhere)", "nowhere"),
        ("(SELECT 'a dog', 'a cat')", "gave 2 columns"),
        ("(SELECT * FROM (VALUES (' ')))", "gave ' '"),
        ("['a dog', 3]", "expected moments"),
    ],
)
def test_other_texts_are_refused(kept: Store, sandbox: Sandbox, texts: str, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        run_sql(context_of(kept, sandbox), f"SELECT * FROM moments({texts})", max_rows=10)


def test_a_view_lists_its_texts(kept: Store, sandbox: Sandbox) -> None:
    for sql in ("CREATE VIEW seen AS", "DESCRIBE"):
        with pytest.raises(EngineError, match="lists its texts"):
            run_sql(
                context_of(kept, sandbox), f"{sql} SELECT * FROM moments((SELECT 'a'))", max_rows=9
            )


@pytest.mark.parametrize("lateral", ["", "LATERAL "])
def test_a_column_of_another_relation_is_told_the_form(
    kept: Store, sandbox: Sandbox, lateral: str
) -> None:
    sql = f"SELECT * FROM videos v, {lateral}moments(v.name)"
    with pytest.raises(EngineError, match="moments\\(\\(SELECT text FROM"):
        run_sql(context_of(kept, sandbox), sql, max_rows=10)
