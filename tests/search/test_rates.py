"""Estimates come within twice of what work takes, once ten queries have been seen."""

import numpy as np
import pytest

from engine.cage.sandbox import Sandbox
from engine.planner.bind import bind
from engine.planner.cost import estimate_all
from engine.planner.optimize import optimize
from engine.planner.parse import parse
from engine.search.rates import EmbeddingRates, WorkRates
from engine.search.work import Embedded
from engine.sql import run_sql
from tests.asking import Videos

KINDS = [f"{codec} of 2^{size}" for codec in ("h264", "hevc", "av1") for size in (16, 18, 21)]


def share_within(seed: int, most_videos: int) -> float:
    """The share of estimates within twice of a machine's cost, whose rates differ by up to 64."""
    draw = np.random.default_rng(seed)
    truth = {
        kind: 0.004 * 2 ** (draw.uniform(-3, 3) + 0.7 * (int(kind[-2:]) - 18)) for kind in KINDS
    }
    videos, rates, within = (
        [KINDS[at] for at in draw.integers(len(KINDS), size=12)],
        WorkRates(0.05),
        [],
    )
    for number in range(40):
        amounts: dict[str, float] = {}
        for video in draw.choice(12, draw.integers(1, most_videos + 1), replace=False):
            kind = videos[video]
            amounts[kind] = amounts.get(kind, 0.0) + draw.uniform(2, 60)
        took = sum(units * truth[kind] for kind, units in amounts.items())
        took *= np.exp(draw.normal(0, 0.15))
        if number >= 10 and amounts.keys() <= rates.known.keys():
            within.append(0.5 <= rates.expected(amounts) / took <= 2)
        rates = WorkRates.of_json(0.05, rates.learn(amounts, took).as_json())
    return float(np.mean(within))


@pytest.mark.parametrize(("most_videos", "least"), [(1, 0.99), (4, 0.9)])
def test_after_ten_queries_estimates_are_within_twice(most_videos: int, least: float) -> None:
    assert np.mean([share_within(seed, most_videos) for seed in range(25)]) >= least


@pytest.mark.parametrize("opening", [0.0, 0.01, 0.05])
def test_opening_a_file_does_not_spoil_it(opening: float) -> None:
    """Queries of every shape, at 0.02 s for a second of video and so much more for each range."""
    within = []
    for seed in range(25):
        draw, rates = np.random.default_rng(seed), WorkRates(0.05)
        for number in range(20):
            spans = draw.choice([2.0, 4.0, 6.0, 20.0, 40.0], draw.integers(1, 5))
            took = float(0.02 * spans.sum() + opening * len(spans)) * np.exp(draw.normal(0, 0.15))
            if number >= 10:
                within.append(0.5 <= rates.expected({"h264 of 2^18": spans.sum()}) / took <= 2)
            rates = rates.learn({"h264 of 2^18": float(spans.sum())}, took)
    assert np.mean(within) >= 0.9


def test_an_unknown_kind_costs_as_the_nearest_by_its_pixels() -> None:
    rates = WorkRates(0.05).learn({"h264 of 2^18": 10.0}, 2.0)
    assert rates.rate("h264 of 2^18") == pytest.approx(0.2)
    assert rates.rate("h264 of 2^20") == pytest.approx(0.8)
    assert rates.rate("av1 of 2^18") == pytest.approx(0.2)
    assert rates.rate("") == pytest.approx(0.2)
    assert WorkRates(0.05).rate("h264 of 2^18") == 0.05


def test_a_machine_that_becomes_another_is_learned_anew() -> None:
    rates = WorkRates(0.05)
    for took in (*[1.0] * 10, *[16.0] * 3):
        rates = rates.learn({"dense on auto": 10.0}, took)
    assert 0.5 <= rates.expected({"dense on auto": 10.0}) / 16.0 <= 1


def test_work_that_took_nothing_says_nothing() -> None:
    rates = WorkRates(0.05)
    assert rates.learn({"dense on auto": 0.0}, 1.0) is rates
    assert rates.learn({"dense on auto": 3.0}, 0.0) is rates


def test_queries_teach_what_explain_says(videos: Videos, sandbox: Sandbox) -> None:
    """Queries that embed one GOP each, at 0.7 s per second of video and 0.2 s per frame."""
    context = videos.context(sandbox)
    embed = context.embed

    def slow(missing, options):  # type: ignore[no-untyped-def]
        done = embed(missing, options)
        seconds = sum(item.stop_seconds - item.start_seconds for item in missing)
        return Embedded(
            frames=done.frames, decode_seconds=0.7 * seconds, encode_seconds=0.2 * done.frames
        )

    context.embed = slow
    notes = []
    for second in (10, 12, 14, 16):
        sql = f"SELECT CLIP_MATCH(frame, 'a') AS s FROM frames WHERE seconds = {second}"
        plan = optimize(bind(parse(sql), false_match_rate=0.01))[0]
        notes += [cost.note for cost in estimate_all(plan, context) if "to embed" in cost.note]
        run_sql(context, sql, max_rows=100)
    assert notes[-1] == "112 frames stored, 4 to embed: decode 1.40 s, encode 0.80 s"
    assert EmbeddingRates.load(
        context.reading.store, context.reading.space
    ).decode.known.keys() == {"h264 of 2^12"}
