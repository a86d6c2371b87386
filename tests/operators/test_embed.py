"""Frames that are not embedded yet, moments and answers."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from engine.cage.sandbox import Sandbox
from engine.operators.answer import VideoAnswer
from engine.operators.base import Context, Reply, read_table
from engine.operators.embed import Embed
from engine.operators.limit import Limit
from engine.operators.moments import Moments
from engine.operators.scan import Scan
from engine.planner.relations import RELATIONS
from engine.rows import Completeness
from engine.search.context import Range
from engine.search.moments import Step
from engine.search.options import Options
from engine.search.work import Embedded, Refined
from schemas.tables import MOMENTS
from tests.asking import Videos


def gops(*predicates: str) -> Scan:
    return Scan("gops", RELATIONS["gops"], predicates)


def test_only_the_missing_gops_are_embedded_and_only_once(videos: Videos, sandbox: Sandbox) -> None:
    assert read_table(Embed(gops()), videos.context(sandbox)).num_rows == 120
    assert videos.asked == [Range(3, 10.0, 20.0)]
    assert read_table(Embed(gops()), videos.context(sandbox)).num_rows == 120
    assert len(videos.asked) == 1


def test_what_is_not_asked_for_is_not_embedded(videos: Videos, sandbox: Sandbox) -> None:
    read_table(Embed(gops("video_id < 3")), videos.context(sandbox))
    read_table(Embed(gops("stop_seconds <= 10")), videos.context(sandbox))
    assert videos.asked == []
    read_table(Embed(gops("gop IN (4, 6, 9)")), videos.context(sandbox))
    assert videos.asked == [Range(3, 12.0, 14.0), Range(3, 18.0, 20.0)]


def test_work_says_what_was_embedded_and_what_was_there(videos: Videos, sandbox: Sandbox) -> None:
    context = videos.context(sandbox)
    read_table(Embed(gops()), context)
    assert [item.frames for item in context.work.embedded] == [20]
    assert context.work.stored_frames == 100


def test_a_quarantined_video_is_left_alone(videos: Videos, sandbox: Sandbox) -> None:
    videos.store.catalog.set_status(3, "quarantined", "broken")
    read_table(Embed(gops()), videos.context(sandbox))
    assert videos.asked == []


def test_frames_that_were_embedded_or_refined_are_spent(videos: Videos, sandbox: Sandbox) -> None:
    seen = []
    context = videos.context(sandbox, budget_frames=30)
    context.work.refined.append(Refined(rows=4))

    def embed(missing: Sequence[Range], options: Options) -> Embedded:
        seen.append(options.budget_frames)
        return Embedded(frames=13, complete=False)

    context.embed = embed
    for _ in range(4):
        context.embed_missing([Range(3, 10.0, 20.0)])
    assert seen == [26, 13]
    assert context.frames_left == 0
    assert [item.complete for item in context.work.embedded] == [False] * 4


WHAT_ENDED = {  # what embedding does, with what is said of it: complete, a budget ended it
    "all, and the budget ended just then": (True, False),
    "a part, then the budget ended": (False, True),
    "nothing, as the file has gone": (False, False),
}


@pytest.mark.parametrize("what", WHAT_ENDED)
def test_a_budget_is_named_only_where_it_ended_something(
    what: str, videos: Videos, sandbox: Sandbox
) -> None:
    context = videos.context(sandbox, budget_seconds=100.0)
    embed = context.embed

    def ended(missing: Sequence[Range], options: Options) -> Embedded:
        if what.startswith("nothing"):
            return Embedded(complete=False)
        part = missing if what.startswith("all") else [replace(missing[0], stop_seconds=14.0)]
        return replace(embed(part, options), complete=False, budget=True)

    context.embed = ended
    read_table(Embed(gops()), context)
    found = Completeness.of_work(context.work)
    assert (found.complete, found.budget) == WHAT_ENDED[what]
    assert found.missing_seconds == {"all": 0, "a p": 6, "not": 10}[what[:3]]


def test_what_is_left_of_the_budget_goes_to_the_ingest(videos: Videos, sandbox: Sandbox) -> None:
    seen = []
    context = videos.context(sandbox, budget_seconds=30.0)
    embed = context.embed
    context.embed = lambda missing, options: (
        seen.append(options.budget_seconds) or embed(missing, options)  # type: ignore[func-returns-value]
    )
    read_table(Embed(gops()), context)
    assert 0 < seen[0] <= 30


def found(context: Context, steps: Sequence[Step], **given: float) -> list[tuple[float, ...]]:
    moments = Moments(Embed(gops()), tuple(steps), given.get("gap_seconds"), given.get("min_score"))
    table = read_table(moments, context)
    assert table.schema == MOMENTS
    return [
        (row["video_id"], row["start_seconds"], row["stop_seconds"]) for row in table.to_pylist()
    ]


def test_moments_are_where_the_text_is_shown(shared_videos: Videos, sandbox: Sandbox) -> None:
    context = shared_videos.context(sandbox)
    assert found(context, [Step("a dog")], min_score=0.6) == [(v, 5.0, 8.0) for v in (1, 2, 3)]
    assert found(context, [Step("a cat")], min_score=0.6) == [(v, 10.0, 12.0) for v in (1, 2, 3)]
    for video, start, stop in found(context, [Step("a dog")]):
        assert 5.0 <= start < stop <= 8.0, video


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((Step("a dog"), Step("a cat", within_seconds=2)), [(5.0, 12.0)] * 3),
        ((Step("a dog"), Step("a cat", within_seconds=1)), []),
        ((Step("a cat"), Step("a dog")), []),
        ((Step("a dog", hold_seconds=3),), [(5.0, 8.0)] * 3),
        ((Step("a dog", hold_seconds=3.5),), []),
    ],
)
def test_sequences_keep_order_and_durations(
    shared_videos: Videos,
    sandbox: Sandbox,
    steps: tuple[Step, ...],
    expected: list[tuple[float, float]],
) -> None:
    context = shared_videos.context(sandbox)
    assert [moment[1:] for moment in found(context, steps, min_score=0.6)] == expected


def test_a_false_match_rate_sets_the_cut(shared_videos: Videos, sandbox: Sandbox) -> None:
    strict = found(shared_videos.context(sandbox, false_match_rate=1e-4), [Step("nothing")])
    loose = found(shared_videos.context(sandbox, false_match_rate=0.3), [Step("nothing")])
    assert len(strict) < len(loose)


def test_a_video_is_asked_once_and_only_when_pulled(
    shared_videos: Videos, sandbox: Sandbox
) -> None:
    asked = []

    def respond(video: int, question: str, choices: tuple[str, ...] | None) -> Reply:
        asked.append(video)
        return Reply((choices or ("?",))[-1], 0.25, 1.0, 2.0)

    context = shared_videos.context(sandbox)
    context.respond = respond
    answer = VideoAnswer(Limit(gops(), 15), "reply", "what?", ("a", "b"))
    rows = read_table(answer, context)
    assert rows.schema == answer.schema
    assert asked == [1, 2]
    assert rows.column("reply").to_pylist()[0] == {
        "answer": "b",
        "confidence": 0.25,
        "start_seconds": 1.0,
        "stop_seconds": 2.0,
    }
