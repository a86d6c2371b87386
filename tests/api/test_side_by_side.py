"""Several spaces are asked at once, and what they find is joined on time by rank."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Engine
from engine.errors import NotFoundError
from engine.results import Coverage, Moment, QueryResult
from engine.search.fusion import Extent, join
from engine.side_by_side import merge
from engine.video.write import write_h264
from tests.embedding_server import COLOURS, embedding_server


def test_rankings_join_as_they_are_defined() -> None:
    """Against the definition, written out: groups by their first member, in order."""
    rng = np.random.default_rng(0)
    for _, by_video in product(range(40), (False, True)):
        rankings = [
            [
                Extent(int(rng.integers(2)), start, start + float(rng.integers(1, 4)))
                for start in map(float, rng.integers(0, 12, rng.integers(0, 6)))
            ]
            for _ in range(3)
        ]
        groups: list[dict[int, int]] = []
        for number, ranking in enumerate(rankings):
            known = [dict(group) for group in groups]
            for rank, item in enumerate(ranking):
                for group, before in zip(groups, known, strict=False):
                    first = min(before)
                    head = rankings[first][before[first]]
                    apart = item.stop_seconds <= head.start_seconds
                    apart = apart or head.stop_seconds <= item.start_seconds
                    if head.video_id == item.video_id and (by_video or not apart):
                        group.setdefault(number, rank)
                        break
                else:
                    groups.append({number: rank})
        told = {
            tuple(group.get(at) for at in range(3)): sum(1 / (61 + r) for r in group.values())
            for group in groups
        }
        found = join(rankings, by_video=by_video)
        assert dict(found) == pytest.approx(told)
        assert [score for _, score in found] == sorted((s for _, s in found), reverse=True)


def result(*moments: Moment) -> QueryResult:
    return QueryResult(list(moments), Coverage(1, 5, 0, 0, complete=True), {"search": 1.0}, "p")


def test_a_moment_is_told_as_the_space_that_ranks_it_best() -> None:
    one = result(Moment(1, "a", 0, 2, 1, 0.9), Moment(1, "a", 5, 6, 5, 0.8))
    two = result(Moment(1, "a", 5, 7, 6, 0.2), Moment(2, "b", 0, 1, 0, 0.1))
    merged = merge({"x": one, "y": two}, 3, by_video=False)
    assert [(m.name, m.start_seconds, m.score, m.spaces) for m in merged.moments] == [
        ("a", 5, 0.2, ("x", "y")),
        ("a", 0, 0.9, ("x",)),
        ("b", 0, 0.1, ("y",)),
    ]
    assert (merged.coverage.frames, merged.timing) == (10, {"search": 2.0})


def test_each_space_is_asked_by_its_own_model(tmp_path: Path, cli: Callable[..., Any]) -> None:
    clip, data = tmp_path / "clip.mp4", tmp_path / "data"
    frames = [np.full((32, 32, 3), rgb, np.uint8) for rgb in COLOURS.values() for _ in range(8)]
    write_h264(clip, frames, 4.0)
    with embedding_server() as server:
        own, rolled = (f"{server.url}#{name}?size=32" for name in ("own", "rolled"))
        keys = []
        for name in (rolled, own):
            with Engine.open(data, name, "cpu") as engine:
                engine.ingest(clip)
                keys.append(engine.space)
        with Engine.open(data, own, "cpu") as engine:
            assert engine.query("red", 1).moments[0].start_seconds == 0.0
            found = engine.query("red", 2, spaces=[own, keys[0]])
            first, second = sorted(found.moments, key=lambda each: each.start_seconds)
            assert (first.start_seconds, first.spaces[0]) == (0.0, keys[1])
            assert second.start_seconds == pytest.approx(4.0, abs=0.6)  # blue, taken for red
            assert keys[0] in second.spaces
            assert engine.store.catalog.current_space().key == engine.space == keys[1]
            assert engine.query("red", 1).moments[0].spaces == ()
            with pytest.raises(NotFoundError, match=r"'nowhere'; allowed: .*rolled-"):
                engine.query("red", spaces=["nowhere"])
        asked = ("--data", data, "--model", own, "--device", "cpu", "--json", "--top", 2)
        told = json.loads(cli("query", "red", "--spaces", ",".join(keys), *asked).out)
        assert {key for each in told["moments"] for key in each["spaces"]} == set(keys)
