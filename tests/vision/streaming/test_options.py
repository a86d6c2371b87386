"""Options of strategies are read as what they are; nothing else gets through."""

import math
from typing import Any

import pytest

from engine.errors import UsageError
from engine.vision.model import Model, load_model
from engine.vision.registry import build_strategy
from engine.vision.strategies import STRATEGIES
from engine.vision.streaming.options import StrategyOptions

NUMBERS = {
    "earlygate": ("threshold", "scale", "cut", "budget", "bridge", "novelty"),
    "cmc_emulated": ("threshold",),
    "diffrate": ("gmac",),
    "tome": ("r",),
    "reusevit": ("cut", "budget", "bias"),
    "rgtp": ("keep", "foreground", "background"),
    "runlength": ("threshold",),
}
COUNTS = {
    "earlygate": ("refresh", "streams"),
    "cmc_emulated": ("refresh",),
    "eventful": ("r", "refresh"),
    "eventful_emulated": ("k", "refresh"),
    "reusevit": ("refresh",),
    "rgtp": ("every", "reach"),
    "runlength": ("refresh",),
    "interpolate": ("every",),
}
FLAGS = {
    "earlygate": ("sequential",),
    "eventful": ("products", "keep_class"),
    "diffrate": ("rescale", "proportional"),
    "tome": ("falling",),
    "runlength": ("anchor",),
}
NO_NUMBER = ("abc", "0.5", [1], {}, None, True, math.nan)
KINDS = ((NUMBERS, NO_NUMBER), (COUNTS, (*NO_NUMBER, 2.7, -1, math.inf)), (FLAGS, ("no", 0, None)))


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(device="cpu")


def test_whatever_is_given_is_taken_or_refused_by_name(model: Model) -> None:
    for table, values in KINDS:
        for name, options in table.items():
            for option in options:
                for value in values:
                    said = f"^option {option} of {name} is .*; allowed: [^\n]*$"
                    with pytest.raises(UsageError, match=said):
                        build_strategy(
                            name, model.tower, space=model.space, options={option: value}
                        )


@pytest.mark.parametrize("name", STRATEGIES.all())
def test_no_strategy_takes_an_option_that_it_lacks(model: Model, name: str) -> None:
    with pytest.raises(UsageError, match=f"unknown option of {name} 'treshold'"):
        build_strategy(name, model.tower, space=model.space, options={"treshold": 1})


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("tome", {"r": math.inf}, "r of tome is inf; allowed: a number from 0 to 197"),
        ("diffrate", {"model": "ViT-B-DeiT"}, "diffrate needs rates"),
        ("diffrate", {"gmac": 0.5, "target": 0.5}, "by gmac takes no target"),
        ("diffrate", {"target": [1]}, "target of diffrate is .1.; allowed: a name or a number"),
        ("rgtp", {"reset": "half"}, "unknown reset 'half'; allowed: 1in2, 1in4, full"),
        ("earlygate", {"threshold": "x" * 500}, "is 'x{76}…; allowed: a number, 0 or more$"),
    ],
)
def test_what_does_not_go_together_is_refused(
    model: Model, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        build_strategy(name, model.tower, space=model.space, options=options)


def test_numbers_stand_for_whole_ones_and_names() -> None:
    given = StrategyOptions.of("s", {"n": 3.0, "t": 0.8, "b": math.inf}, ("n", "t", "b", "u"))
    assert given.count("n", 1) == 3
    assert given.text("t") == "0.8"
    assert given.number("b", 0.0) == math.inf
    assert (given.text("u", "x"), given.flag("u", usual=True)) == ("x", True)
