"""Which rows are carried, by packets alone, and what an audit of some groups says of all."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.ingesting.carry import KEY, CodedGroup, draw_groups, groups_of, judge, pictures_for
from engine.video.coded import CodedPictures


def coded_of(sizes: list[list[int]]) -> CodedPictures:
    """Groups of pictures, each given by its packets' sizes, the key picture's first."""
    flat = [size for group in sizes for size in group]
    keys = [at == 0 for group in sizes for at in range(len(group))]
    seconds = np.arange(len(flat)) / 10
    return CodedPictures(seconds, np.array(flat, np.int64), np.array(keys, np.bool_))


@settings(suppress_health_check=[HealthCheck.too_slow])  # says how busy the machine is
@given(
    sizes=st.lists(st.lists(st.integers(1, 500), min_size=1, max_size=12), min_size=1, max_size=8),
    step=st.integers(1, 6),
    most=st.floats(-1, 3000),
)
def test_what_is_carried_is_what_little_changes_before(sizes, step, most) -> None:
    coded = coded_of(sizes)
    shown = list(range(0, len(coded.key), step))
    others = coded.size_bytes[~coded.key]
    floor = np.quantile(others, 0.2) if len(others) else 0

    def change(after: int, to: int) -> float:
        return sum(
            max(coded.size_bytes[at] - floor, 0)
            for at in range(after + 1, to + 1)
            if not coded.key[at]
        )

    groups = groups_of(coded, shown)
    assert [place for group in groups for place in group.shown] == shown
    pictures = 0
    for group in groups:
        anchor, last = group.anchor(most), group.shown[-1]
        place = group.key if anchor == KEY else group.shown[anchor]
        assert coded.key[group.key]
        assert shown[group.first_row] == group.shown[0]
        carried = [group.shown[row] for row in group.carried(most)]
        assert carried == [each for each in group.shown if each > place]
        earlier = [each for each in (group.key, *group.shown) if each < place]
        if carried:
            assert change(place, last) <= most + 1e-6
        assert all(change(each, last) > most - 1e-6 for each in earlier)
        pictures += place - group.key + 1
    assert pictures_for(groups, most, {}) == pictures


def calm_and_busy(seed: int, groups: int = 120) -> tuple[list[CodedGroup], list[np.ndarray]]:
    """Groups of two rows whose drift follows their bytes, with a spread of its own."""
    random = np.random.default_rng(seed)
    change = random.lognormal(0, 1.5, groups)
    drift = np.minimum(change * random.lognormal(-5, 1.0, groups), 1.0)
    made = [
        CodedGroup(10 * at, 2 * at, (10 * at, 10 * at + 5), (float(c), float(c), 0.0))
        for at, c in enumerate(change)
    ]
    return made, [np.array([[0, d], [0, d], [d, 0]]) for d in drift]


def test_the_bound_is_kept_as_often_as_it_says() -> None:
    broken, carried, limit, trials = 0, 0, 0.004, 400
    for seed in range(trials):
        groups, drifts = calm_and_busy(seed)
        drawn = draw_groups(groups, seed)
        judged = judge(groups, {at: drifts[at] for at in drawn}, 240, limit, 0.05)
        left = [at for at in range(len(groups)) if at not in drawn]
        lost = sum(groups[at].lost(judged.most, drifts[at]) for at in left)
        broken += lost / 240 > limit
        carried += sum(len(groups[at].carried(judged.most)) for at in left)
    assert broken <= 0.05 * trials
    assert carried > 0.2 * 120 * trials  # and it does carry


def test_drawn_groups_stand_for_all_by_their_change() -> None:
    groups, _ = calm_and_busy(3)
    drawn = draw_groups(groups, 5)
    assert len(drawn) == 16 == len(set(drawn))
    order = np.argsort([group.change[0] for group in groups])
    parts = [set(part.tolist()) for part in np.array_split(order, 16)]
    assert all(len(part & set(drawn)) == 1 for part in parts)
    assert drawn == draw_groups(groups, 5) != draw_groups(groups, 6)


@pytest.mark.parametrize("count", [0, 7])
def test_too_few_audits_carry_nothing(count: int) -> None:
    groups, drifts = calm_and_busy(1)
    audited = {at: 0 * drifts[at] for at in range(count)}
    assert judge(groups, audited, 240, 0.5, 0.05).most < 0
