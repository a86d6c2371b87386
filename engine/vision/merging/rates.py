"""How many tokens each layer keeps: the lists that DiffRate learned and published."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UsageError, enough, unknown
from engine.vision.backbone.tower import VisionConfig
from engine.vision.streaming.strategy import named_like

LEAST = 2  # the class token, and one to merge into
SHIPPED = Path(__file__).with_name("builtin_rates.json")  # of the built-in model
PRUNED, MERGED = "prune_kept_num", "merge_kept_num"


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens that are left in each layer after pruning and after merging, the class token included.

    A published list need not fall: a layer that would keep more tokens than there are keeps all.
    """

    pruned: tuple[int, ...]
    merged: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.pruned) != len(self.merged) or not self.pruned:
            raise UsageError(
                f"rates have a count for each layer after pruning and after merging, got "
                f"{len(self.pruned)} and {len(self.merged)}"
            )
        if (least := min(self.pruned + self.merged)) < LEAST:
            raise UsageError(f"rates keep {LEAST} tokens or more in every layer, got {least}")

    @classmethod
    def none(cls, config: VisionConfig) -> "Rates":
        """Keep all tokens in every layer."""
        return cls((config.tokens,) * config.layers, (config.tokens,) * config.layers)

    @property
    def tokens(self) -> int:
        """Tokens of the tower that they were made for: the first layer is given them all."""
        return self.pruned[0]

    def check(self, config: VisionConfig) -> None:
        """Refuse rates of a tower of another depth or another number of tokens."""
        if len(self.pruned) != config.layers:
            raise UsageError(f"rates of {len(self.pruned)} layers; this tower has {config.layers}")
        if self.tokens != config.tokens:
            raise UsageError(
                f"rates for {self.tokens} tokens; this tower has {config.tokens}: rescale=true "
                "fits them to it"
            )

    def rescaled(self, tokens: int) -> "Rates":
        """The same shares of the patches of a tower with another number of tokens."""

        def fit(kept: int) -> int:
            return max(LEAST, 1 + round((kept - 1) * (tokens - 1) / (self.tokens - 1)))

        return Rates(tuple(map(fit, self.pruned)), tuple(map(fit, self.merged)))

    def scaled(self, scale: float) -> "Rates":
        """Drop that many times as many tokens: below 1 fewer, at 0 none."""

        def fit(kept: int) -> int:
            return max(LEAST, round(self.tokens - (self.tokens - kept) * scale))

        return Rates(tuple(map(fit, self.pruned)), tuple(map(fit, self.merged)))


def read_rates(
    given: Any, config: VisionConfig, *, model: str | None = None, target: str | None = None
) -> Rates:
    """Read rates from a JSON file of published lists, or from a list of counts.

    Args:
        given: a file `{model: {target: {"prune_kept_num": […], "merge_kept_num": […]}}}`; or a
            list with an item for each layer, `[after pruning, after merging]` or one number where
            nothing is pruned.
        config: the tower's shape, where only merging is meant.
        model: of the file's models, where there are several.
        target: of the model's, where there are several: multiply-accumulates in billions.
    """
    if isinstance(given, str | Path):
        return _read_file(Path(given), model, target)
    if not isinstance(given, Sequence):
        raise UsageError(f"rates are a file or a list of counts, got {given!r}")
    if model is not None or target is not None:
        raise UsageError("model and target choose from a file of rates, got a list")
    pairs = [_pair(each, config.tokens) for each in given]
    return Rates(tuple(each for each, _ in pairs), tuple(each for _, each in pairs))


def targets_of(path: Path, model: str) -> tuple[str, ...]:
    """The targets of a model's lists in a file."""
    return tuple(_choose_from(path, _choose("model", _lists(path), model)))


def _pair(given: Any, tokens: int) -> tuple[int, int]:
    match given:
        case int():
            return tokens, given
        case [int() as pruned, int() as merged]:
            return pruned, merged
    raise UsageError(f"rates of a layer are a count, or [pruned, merged], got {given!r}")


def _read_file(path: Path, model: str | None, target: str | None) -> Rates:
    chosen = _choose("model", _lists(path), model)
    found = _choose("target", _choose_from(path, chosen), target)
    counts = _choose_from(path, found)
    for name in (PRUNED, MERGED):
        if not _are_counts(counts.get(name)):
            raise UsageError(f"{path}: {name} must be a list of whole numbers")
    return Rates(tuple(counts[PRUNED]), tuple(counts[MERGED]))


def _lists(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UsageError(f"no rates at {path}; allowed: a JSON file of published lists")
    try:
        return _choose_from(path, json.loads(path.read_text()))
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from error


def _choose(what: str, found: Mapping[str, Any], wanted: str | None) -> Any:
    if wanted is None and len(found) == 1:
        return next(iter(found.values()))
    if wanted is None:
        raise UsageError(f"rates for several: name a {what}; allowed: {enough(list(found))}")
    known = named_like(wanted, found)
    if known is None:
        raise UsageError(unknown(f"{what} of the rates", wanted, found))
    return found[known]


def _choose_from(path: Path, found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict) or not found:
        raise UsageError(
            f"{path}: not rates; allowed: {{model: {{target: {{{PRUNED}, {MERGED}}}}}}}"
        )
    return found


def _are_counts(found: Any) -> bool:
    return isinstance(found, list) and all(type(each) is int for each in found)
