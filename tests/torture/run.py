"""`make torture`: every attack, as often as it asks for; `--seed` repeats one that failed."""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from importlib import import_module
from pathlib import Path
from time import perf_counter

from tests.torture.registry import ATTACKS, Attack

MODULES = ("tests.torture.store",)
for module in MODULES:
    import_module(module)


def main() -> None:
    """Run the attacks that are named, or all, and print how each was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of attacks' names; all by default")
    parser.add_argument("--count", type=int, help="times of each, in place of its own count")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    chosen = [
        item
        for item in ATTACKS.values()
        if not given.names or any(item.name.startswith(name) for name in given.names)
    ]
    failed = sum(_run(item, given.seed, given.count or item.count) for item in chosen)
    sys.exit(1 if failed else 0)


def _run(item: Attack, first: int, count: int) -> int:
    """Run one attack with rising seeds; print what came of it and return how often it failed.

    Ctrl-C ends it with what came of it so far.
    """
    started, met, failed, done = perf_counter(), Counter[str](), 0, 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            try:
                met[item.body(seed, Path(folder))] += 1
                done += 1
            except KeyboardInterrupt:
                break
            except Exception:  # noqa: BLE001  # all seeds are to be tried
                failed, done = failed + 1, done + 1
                _say(f"{item.name}, seed {seed}:\n{traceback.format_exc()}")
    _say(f"{item.name}: {done} times, {failed} failed, {perf_counter() - started:.0f} s")
    for how, times in sorted(met.items()):
        _say(f"  {times:5} {how}")
    return failed


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
