"""Thousands of random statements against the stock DuckDB: `make fuzz`."""

import argparse
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from tests.oracle.generator import Generator
from tests.oracle.judge import judge
from tests.oracle.matcher import judge_pattern
from tests.oracle.prepared import prepared
from tests.oracle.shrink import shrink
from tests.oracle.words import VIEWS
from tests.oracle.world import World


def main() -> int:
    """Judge the statements of some seeds, print what fails as small as it gets, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--approximate", action="store_true", help="with OPTIONS (exact = true)")
    given = parser.parse_args()
    kinds: Counter[str] = Counter()
    used: Counter[str] = Counter()
    wrong = 0
    options = " OPTIONS (exact = true)" if given.approximate else ""
    for number in range(given.count):
        if number % 500 == 0:
            folder = TemporaryDirectory()
            world = World(Path(folder.name) / "data", given.approximate)
            world.add_views(VIEWS)
        generator = Generator(given.seed * 1_000_003 + number)
        if number % 20 == 19:
            sql, given_values = "", {}
            verdict = judge_pattern(world, generator.seed, options=options)
            generator.note("MATCH_RECOGNIZE")
        else:
            sql, given_values = generator.statement(), {}
            if number % 4 == 1:
                sql, given_values = prepared(sql, Random(generator.seed))
                generator.used |= {"parameter": 1} if given_values else {}
            verdict = judge(world, sql, options=options, given=given_values)
        used.update(generator.used.keys())  # a statement counts once for each
        kinds[verdict.kind] += 1
        kinds["without rows"] += verdict.why == "0 rows"
        if verdict.kind not in ("same", "invalid"):
            wrong += 1
            fails = partial(_fails, kind=verdict.kind, options=options, given=given_values)
            small = shrink(sql, fails, tries=80)
            said = f"{given.seed * 1_000_003 + number}: {verdict.kind}, {verdict.why}"
            sys.stdout.write(f"{said}\n  {small}\n  out of {sql}\n  with {given_values}\n")
            sys.stdout.flush()
    sys.stdout.write(told(kinds, used))
    return 1 if wrong else 0


def _fails(sql: str, *, kind: str, options: str, given: dict[str, Any]) -> bool:
    """Whether a statement fails in a world on which nothing else has run."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "data", bool(options))
        world.add_views(VIEWS)
        try:
            return judge(world, sql, options=options, given=given).kind == kind
        finally:
            world.close()


def told(kinds: Counter[str], used: Counter[str]) -> str:
    """Say what came of the statements, and how many had each construct in them."""
    lines = [", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())]
    lines += ["statements by construct:"]
    lines += [f"  {construct:<20} {count:>7,}" for construct, count in used.most_common()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
