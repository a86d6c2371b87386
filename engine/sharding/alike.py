"""Whether answers of shards can be merged, and what the merged answer rests on."""

from collections.abc import Mapping
from typing import Any

from engine.errors import StoreError
from engine.results import Coverage
from engine.sharding.shards import Shard, names_of
from schemas.shard import PROTOCOL, ShardFacts, ShowOut

MOST_LACKING = 100


def check_protocol(facts: Mapping[str, Any]) -> None:
    """Raise StoreError where a shard speaks otherwise; its facts are not read further then."""
    if facts.get("protocol") != PROTOCOL:
        spoken = f"protocol {facts.get('protocol')}, needed: {PROTOCOL}"
        raise StoreError(f"it is of version {facts.get('version')}, which speaks {spoken}")


def check_alike(facts: Mapping[Shard, ShardFacts]) -> None:
    """Raise StoreError unless the answers of all shards can be merged."""
    named: dict[str, Shard] = {}
    for shard, own in facts.items():
        other = named.setdefault(own.identity, shard)
        if other is not shard:
            raise StoreError(f"shards {names_of([other, shard])} are one store; allowed: each once")
    first, *others = facts
    for shard in others:
        one, two = facts[first], facts[shard]
        if one.space != two.space:
            spaces = f"{first.name} has {one.space}, {shard.name} has {two.space}"
            raise StoreError(f"shards are of different models: {spaces}; all need one space")
        wrong = next((name for name in one.rules if one.rules[name] != two.rules.get(name)), None)
        if wrong is not None:
            values = f"{one.rules[wrong]} in {first.name}, {two.rules.get(wrong)} in {shard.name}"
            raise StoreError(f"shards run with different settings: {wrong} is {values}")


def covered_by(
    shown: Mapping[Shard, ShowOut], lost: Mapping[Shard, str], *, edges_may_move: bool
) -> Coverage:
    """Return what the answer rests on: of all shards together."""
    found = [Coverage(**each.coverage) for each in shown.values()]
    lacking = [f"shard {shard.name}: {why}" for shard, why in lost.items()]
    lacking += [
        f"{shard.name}:{said}"
        for shard, each in shown.items()
        for said in each.coverage.get("lacking", ())
    ]
    return Coverage(
        videos=sum(each.videos for each in found),
        frames=sum(each.frames for each in found),
        embedded=sum(each.embedded for each in found),
        refined=sum(each.refined for each in found),
        complete=not lost and all(each.complete for each in found),
        lacking=lacking[:MOST_LACKING],
        approximate=any(each.approximate for each in found),
        coarse_seconds=sum(each.coarse_seconds for each in found),
        edges_may_move=edges_may_move,
        num_lacking=len(lost) + sum(each.num_lacking for each in found),
    )
