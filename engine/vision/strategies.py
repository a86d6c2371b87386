"""The names of all ways to encode; nothing is imported by listing them."""

from engine.errors import UsageError, unknown
from engine.names import Names

STRATEGIES = Names(
    "dejavu_engine.strategies",
    "strategy",
    {
        "dense": "engine.vision.streaming.dense:DENSE",
        "cmc_emulated": "engine.vision.emulated.build:CMC",
        "diffrate": "engine.vision.merging.build:DIFFRATE",
        "earlygate": "engine.vision.earlygate.build:EARLYGATE",
        "eventful": "engine.vision.eventful.build:EVENTFUL",
        "eventful_emulated": "engine.vision.emulated.build:EVENTFUL",
        "interpolate": "engine.vision.interpolate:INTERPOLATE",
        "reusevit": "engine.vision.reusevit.build:REUSEVIT",
        "rgtp": "engine.vision.rollout.build:RGTP",
        "runlength": "engine.vision.runlength.build:RUNLENGTH",
        "tome": "engine.vision.merging.build:TOME",
    },
)


def check_strategy(name: str) -> None:
    """Refuse a name that no strategy has; `auto` is the fastest that keeps the bound."""
    if name not in (names := ("auto", *STRATEGIES.all())):
        raise UsageError(unknown("strategy", name, names))
