"""Strategies compared on toy towers and clips: figures, tables, goals and pictures."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from engine.evaluation.compare import (
    BRIEF,
    Comparison,
    Point,
    encode_settings,
    natural_points,
    world_points,
)
from engine.evaluation.datasets.world import world_dataset
from engine.evaluation.encodings import encode, render_pool
from engine.evaluation.goals import at_costs, judge_goals
from engine.evaluation.paired import Paired
from engine.evaluation.plots import draw_comparison
from engine.evaluation.settings import plain_settings, scaled_settings
from engine.evaluation.tables import markdown_comparison, tabulate_comparison
from engine.evaluation.tasks import embed_dataset
from engine.vision.backbone.tower import VisionConfig, VisionTower
from engine.vision.earlygate.limits import FixedLimits
from engine.vision.earlygate.strategy import EarlyGate

CONFIG = VisionConfig(3, 32, 2, 64, 16, 32, 16)


def embed(texts) -> np.ndarray:
    """Draw a unit vector from each text's bytes."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.fixture(scope="module")
def compared() -> Comparison:
    """Compare on three clips of the world, with both kinds of figures."""
    torch.manual_seed(0)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    settings = plain_settings(tower)
    settings += scaled_settings(EarlyGate(tower, FixedLimits.uniform(CONFIG, 0.2)))
    pool = list(render_pool("test", 3, seed=5, fps=1.0, size=32, workers=0))
    videos = (pixels for _, pixels in pool)
    encodings = encode_settings(settings, videos, torch.device("cpu"), streams=2)
    data = world_dataset(clip for clip, _ in pool)
    judged = world_points(settings, encodings, data, embed_dataset(data, embed), None)
    looked = natural_points(settings, encodings, torch.rand(5, 16))
    points = [
        replace(first, nearest=second.nearest, top1=second.top1)
        for first, second in zip(judged, looked, strict=True)
    ]
    return Comparison("Toy", ("three clips",), points)


def test_dense_is_the_first_point_and_loses_nothing(compared) -> None:
    dense = compared.points[0]
    assert (dense.label, dense.macs, dense.reuse) == ("dense", 1, 0)
    assert dense.drift == pytest.approx(0, abs=1e-6)
    assert dense.nearest == dense.top1 == 1
    assert all(paired.loss == 0 for paired in dense.tasks.values())


def test_a_family_drifts_more_as_it_costs_less(compared) -> None:
    gates = [point for point in compared.points if point.family == "gate untrained"]
    assert len(gates) > 2
    assert [p.macs for p in gates] == sorted((p.macs for p in gates), reverse=True)
    assert gates[-1].drift > gates[0].drift
    assert all(point.macs < 1 for point in compared.points[1:])


def test_what_is_written_reads_back(compared) -> None:
    told = json.loads(json.dumps(asdict(compared)))
    assert Comparison.from_json(told) == compared


def test_tables_fit_80_columns(compared) -> None:
    points = [replace(point, nearest=None, top1=None) for point in compared.points]
    report = tabulate_comparison(replace(compared, points=points))
    titles = ["Time", "Answers", "Lost against dense", "Goals"]
    assert [each.title for each in report.more] == titles
    tables = [each.text().splitlines() for each in (replace(report, more=()), *report.more)]
    widths = [len(lines[1]) for lines in tables]  # below the title
    assert max(widths) <= 80
    assert Comparison.from_json(report.as_dict()["data"]).points == points


def test_every_figure_is_drawn(compared, tmp_path) -> None:
    files = draw_comparison(compared, tmp_path)
    assert [path.name for path in files] == ["toy-drift.png", "toy-tasks.png", "toy-agreement.png"]
    assert all(0 < path.stat().st_size < 400_000 for path in files)


def point(family: str, macs: float, drift: float, loss: float, brief: float) -> Point:
    """Make up a point that loses the same on every task."""
    paired = Paired(50 * (1 - loss), 50, 0.5, loss, loss - 0.01, loss + 0.01, 1000)
    tasks = dict.fromkeys(("retrieval", "answers", "grounded"), paired)
    tasks[BRIEF] = replace(paired, score=brief)
    return Point(family, f"{macs}", 1 - macs, macs, macs, drift, 1 - 2 * drift, 0.5, tasks)


def test_goals_are_read_from_the_points() -> None:
    points = [
        point("dense", 1.0, 0.0, 0.0, 65),
        point("interpolate", 0.5, 0.04, 0.05, 35),
        point("interpolate", 0.2, 0.08, 0.1, 30),
        point("gate trained", 0.25, 0.01, 0.015, 55),
        point("gate trained", 0.2, 0.03, 0.019, 45),
        point("gate trained", 0.15, 0.05, 0.03, 45),
        point("ReuseViT", 0.5, 0.01, 0.005, 60),
    ]
    found = {(row[0], row[1]): tuple(row[3:]) for row in judge_goals(points).rows}
    assert found["ReuseViT", "MACs × at ≤ 2 % loss"] == (
        "2.00 (sure: 2.00)",
        "no",
    )
    assert found["gate", "MACs × at ≤ 2 % loss"] == ("5.00 (sure: 1.00)", "yes")
    assert found["gate trained", "drift ÷ interp.'s"][1] == "yes"
    few = {name: replace(paired, items=40) for name, paired in points[0].tasks.items()}
    rows = judge_goals([replace(points[0], tasks=few), *points[1:]]).rows
    assert [row[4] for row in rows if row[1] == "MACs × at ≤ 2 % loss"] == 2 * ["few"]
    assert found["gate trained", "p5 − interp.'s"][1] == "yes"
    assert found["gate trained", "brief gain ÷ interp.'s"][1] == "yes"


def test_goals_of_families_that_are_not_there_are_left_out() -> None:
    dense, gate = point("dense", 1.0, 0.0, 0.0, 65), point("gate trained", 0.25, 0.01, 0.015, 55)
    other = point("interpolate", 0.2, 0.08, 0.1, 30)
    told = [[row[:2] for row in judge_goals(some).rows] for some in ([dense, gate], [dense, other])]
    assert told == [[["gate", "MACs × at ≤ 2 % loss"]], [["dense", "brief gain ÷ interp.'s"]]]
    bare = replace(gate, tasks={})
    assert not judge_goals([replace(dense, tasks={}), bare]).rows
    rarely = [replace(each, tasks=_without(BRIEF, each)) for each in (dense, gate, other)]
    assert "brief gain ÷ interp.'s" not in [row[1] for row in judge_goals(rarely).rows]


def _without(task: str, point: Point) -> dict[str, Paired]:
    return {name: paired for name, paired in point.tasks.items() if name != task}


def test_families_of_another_run_stand_beside_and_times_come_from_a_third() -> None:
    dense, gate = point("dense", 1.0, 0.0, 0.0, 65), point("gate trained", 0.25, 0.01, 0.015, 55)
    reuse = point("ReuseViT", 0.5, 0.01, 0.005, 60)
    here = Comparison("World", ("300 clips",), [dense, gate])
    there = Comparison("World", ("1,500 clips",), [dense, replace(gate, macs=0.3), reuse])
    both = here.beside(there)
    assert both.points == [dense, gate, reuse]
    assert both.notes == ("300 clips", "ReuseViT: 1,500 clips")
    assert both.beside(there) == both
    timed = replace(reuse, seconds=0.7, cpu=0.6, errors={"cpu": 0.02, "macs": 0.4})
    lent = both.timed_by(Comparison("World", ("a CPU",), [dense, timed]))
    assert lent.points == [dense, replace(timed, errors={"cpu": 0.02})]
    assert lent.notes[-1] == "times: a CPU"
    assert [each.seconds for each in lent.untimed().points] == [None, None]
    assert lent.untimed().points[1].errors == {}


def test_what_was_not_timed_is_drawn_over_arithmetic_alone(compared, tmp_path) -> None:
    timed, untimed = (
        draw_comparison(each, tmp_path / name)[1].stat().st_size
        for name, each in (("timed", compared), ("untimed", compared.untimed()))
    )
    assert 0 < untimed < timed
    assert "Time" in [each.title for each in tabulate_comparison(compared).more]
    assert "Time" not in [each.title for each in tabulate_comparison(compared.untimed()).more]


def test_times_have_intervals_over_turns() -> None:
    """Two turns that take .4 and .6 of dense's: half, ± 1.96 × the ratio's error / ratio²."""
    timed = replace(point("gate trained", 0.25, 0.01, 0.015, 55), cpu=0.5, errors={"cpu": 0.05})
    dense = replace(point("dense", 1.0, 0.0, 0.0, 65), cpu=1.0)
    report = tabulate_comparison(Comparison("World", (), [dense, timed]))
    rows = next(each.rows for each in report.more if each.title == "Time")
    assert [row[2] for row in rows] == ["1.00", "2.00 ±0.39"]


def test_a_page_has_cost_time_and_what_is_lost_in_one_table(compared) -> None:
    timed = replace(point("gate trained", 0.25, 0.01, 0.015, 55), cpu=0.5, errors={"cpu": 0.05})
    lines = markdown_comparison(Comparison("W", (), [timed])).splitlines()
    assert lines[0] == (
        "| strategy | MACs × | CPU × | drift | R@1 lost % | choice lost % | grounded lost % "
        "| brief lost % |"
    )
    assert lines[2] == (
        "| gate trained 0.25 | 4.00 | 2.00 ± 0.39 | 0.0100 | +1.5 ± 1.0 | +1.5 ± 1.0 | +1.5 ± 1.0 "
        "| +1.5 ± 1.0 |"
    )
    looked = markdown_comparison(compared.untimed()).splitlines()
    assert "CPU ×" not in looked[0]
    assert "nearest %" in looked[0]
    assert len({line.count("|") for line in looked}) == 1


def test_what_is_not_there_is_not_drawn(tmp_path) -> None:
    dense, gate = point("dense", 1.0, 0.0, 0.0, 0.0), point("gate trained", 0.25, 0.01, 0.015, 55)
    bare = [
        replace(p, tasks={k: v for k, v in p.tasks.items() if k != BRIEF}) for p in (dense, gate)
    ]
    for points in ([dense, gate], bare):
        files = draw_comparison(Comparison("World", (), points), tmp_path)
        assert [path.name for path in files] == ["world-drift.png", "world-tasks.png"]


def test_shares_encoded_apart_add_up_to_the_whole() -> None:
    torch.manual_seed(1)
    tower = VisionTower(CONFIG).eval().requires_grad_(False)
    gate = EarlyGate(tower, FixedLimits.uniform(CONFIG, 0.3))
    videos = [pixels for _, pixels in render_pool("val", 4, seed=9, fps=1.0, size=32, workers=0)]
    whole, share = encode(gate, videos), encode(gate, videos[::2])
    share.add(encode(gate, videos[1::2]))
    assert share.videos.keys() == whole.videos.keys()
    for name, vectors in whole.videos.items():
        assert np.allclose(share.videos[name].frames, vectors.frames, atol=1e-5)
    assert share.macs_per_frame == pytest.approx(whole.macs_per_frame)
    assert share.reuse == pytest.approx(whole.reuse)
    assert (share.num_frames, len(share.turns)) == (whole.num_frames, 2)


def test_costs_that_a_family_does_not_reach_meet_no_goal() -> None:
    points = [
        point("dense", 1.0, 0.0, 0.0, 65),
        point("interpolate", 0.2, 0.08, 0.1, 30),
        point("gate trained", 0.5, 0.001, 0.015, 64),
    ]
    found = {(row[0], row[1]): tuple(row[3:]) for row in judge_goals(points).rows}
    drift, met = found["gate trained", "drift ÷ interp.'s"]
    assert drift.endswith("(0.50 up)")
    assert met == "no"


def test_between_settings_a_curve_is_straight_and_below_them_unknown() -> None:
    points = [point("dense", 1.0, 0.0, 0.0, 65), point("interpolate", 0.5, 0.04, 0.05, 35)]
    read = at_costs(points, "interpolate", lambda each: each.drift, np.array([0.4, 0.5, 0.75, 1]))
    assert np.isnan(read[0])
    assert read[1:].tolist() == pytest.approx([0.04, 0.02, 0])
