"""DiffRate's training: masked as shortened, its gradients' signs, costs reached, files read."""

import csv
import json
from typing import Any

import pytest
import torch

from engine.errors import ModelError, UsageError
from engine.training.rates import (
    Count,
    LearnedRates,
    RateTraining,
    encode_masked,
    train_rates,
    write_rates,
)
from engine.training.reusevit.frames import StoredFrames
from engine.vision.backbone.macs import dense_macs
from engine.vision.merging.diffrate import DiffRate
from engine.vision.merging.macs import reduced_macs
from engine.vision.merging.rates import Rates, read_rates
from engine.vision.merging.strategy import Merging


def learned_at(config: Any, counts: list[tuple[int, int]]) -> LearnedRates:
    """Make counts that are certain: one logit far above the others."""
    learned = LearnedRates(config, 1)
    for index, wanted in enumerate(counts, start=1):
        both = learned.counts(index)
        assert both is not None
        for count, kept in zip(both, wanted, strict=True):
            count.logits.data[:] = -200.0
            count.logits.data[config.tokens - kept] = 0.0
    return learned


@pytest.mark.parametrize("counts", [[(17, 17), (17, 17)], [(12, 17), (7, 17)], [(14, 9), (9, 4)]])
@pytest.mark.parametrize("proportional", [True, False])
def test_masked_tokens_are_as_if_they_were_gone(
    counts: list[tuple[int, int]], proportional: bool, small: Any
) -> None:
    tower = small.tower()
    learned = learned_at(tower.config, counts)
    last = counts[-1]
    expected = Rates((17, *(p for p, _ in counts), last[0]), (17, *(m for _, m in counts), last[1]))
    assert learned.rates() == expected
    rule = DiffRate(learned.rates(), proportional)
    values = tower.normalise(small.frames(3, 1)[:, 0])
    with torch.no_grad():
        theirs = Merging(tower, rule, "diffrate").embed(values)
        ours = encode_masked(tower, learned, values, proportional=proportional)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
    share = reduced_macs(tower.config, rule) / dense_macs(tower.config)
    assert learned.cost().item() == pytest.approx(share, rel=1e-5)


def test_a_count_is_whole_and_its_gradient_the_mean_s() -> None:
    count = Count(16, 4)
    assert count().item() == 11  # of 16, 12, 8 and 4 the mean is 10, and the class token
    count().backward()
    expected = 0.25 * (count.candidates - 10)
    torch.testing.assert_close(count.logits.grad, expected)
    mask = count.mask(17, left=15)
    assert mask.tolist() == [1.0] * 11 + [0.0] * 4 + [1.0] * 2  # what is gone already stays gone


def test_costs_fall_where_few_tokens_grow_likelier(small: Any) -> None:
    learned = LearnedRates(small.tower().config, 4)
    learned.cost().backward()
    for index in (1, 2):
        for count in learned.counts(index):
            assert count.logits.grad[0] > 0 > count.logits.grad[-1]


def test_training_reaches_the_cost_and_keeps_what_matters(small: Any, tmp_path: Any) -> None:
    tower = small.tower()
    source = StoredFrames(small.frames(4, 2, change=0.3))
    config = RateTraining(0.75, steps=60, windows=4, span=2, granularity=1)
    rates = train_rates(tower, config, source, tmp_path / "log.csv")
    share = reduced_macs(tower.config, DiffRate(rates)) / dense_macs(tower.config)
    assert share == pytest.approx(0.75, abs=0.03)
    with (tmp_path / "log.csv").open() as file:
        steps = [row["step"] for row in csv.DictReader(file)]
    assert steps == ["0", "10", "20", "30", "40", "50", "59"]
    path = tmp_path / "rates.json"
    write_rates(path, "one", {"0.75": rates})
    write_rates(path, "one", {"0.5": Rates.none(tower.config)})
    assert read_rates(str(path), tower.config, model="one", target="0.75") == rates
    assert list(json.loads(path.read_text())["one"]) == ["0.75", "0.5"]


def test_what_cannot_be_learned_is_refused(small: Any, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match=r"between 0 and 1, got 8\.7"):
        RateTraining(8.7)
    source = StoredFrames(small.frames(3, 2))
    with pytest.raises(ModelError, match="no 4 windows"):
        train_rates(small.tower(), RateTraining(0.5, span=2), source, tmp_path / "log.csv")
