"""Spoilt videos by the hundred: no exception leaves ingest, and every sound file is done.

`python -m tests.torture.files --count 600 --seed 0 [CLIP …]` prints what became of them. Each batch
runs in a process of its own, so that its memory can be measured and a crash be seen.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

from engine.ingest import IngestOptions, ingest
from engine.storage.store import Store
from tests.ingesting.conftest import make_clip, small_model
from tests.peak import Peak
from tests.torture.hostile import CONTAINERS, mutants, sound_clip

BATCH = 25
SOUND_ROWS = 20
MOST_BYTES = 2 << 30
MOST_SECONDS = 300


def main() -> int:
    """Run all batches; exit code 1 where one fell short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="keep the files of batches that fail here")
    parser.add_argument("--batch", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.batch:
        sys.stdout.write(json.dumps(run_batch(given.batch)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return _run(given, Path(folder))


def run_batch(folder: Path) -> dict:
    """Ingest a folder and return what became of it."""
    started, peak = perf_counter(), Peak()
    with tempfile.TemporaryDirectory() as data, Store.open(Path(data)) as store:
        report = ingest(
            store, small_model(), sorted(folder.iterdir()), IngestOptions(strategy="dense")
        )
        problems = [problem.message for problem in store.verify()]
    return {
        "videos": [[v.name, v.outcome, v.rows, v.reason] for v in report.videos],
        "seconds": perf_counter() - started,
        "peak_bytes": peak.grown(),
        "problems": problems,
    }


def faults(found: dict, names: set[str]) -> list[str]:
    """Return what a batch should not have done."""
    wrong = list(found["problems"])
    outcomes = {name: (outcome, rows, reason) for name, outcome, rows, reason in found["videos"]}
    wrong += [f"{name} was forgotten" for name in names - set(outcomes)]
    for name, (outcome, rows, reason) in outcomes.items():
        if outcome == "quarantined" and not reason:
            wrong.append(f"{name} is quarantined for no reason")
        if outcome not in ("ready", "known", "quarantined"):
            wrong.append(f"{name} is {outcome}")
        if name.startswith("sound") and (outcome, rows) != ("ready", SOUND_ROWS):
            wrong.append(f"{name} is {outcome} with {rows} rows, for {reason}")
    if found["peak_bytes"] > MOST_BYTES:
        wrong.append(f"{found['peak_bytes'] >> 20} MiB")
    return wrong


def _run(given: argparse.Namespace, folder: Path) -> int:
    clips = [sound_clip(folder / f"made.{suffix}") for suffix in CONTAINERS] + given.clips
    made = list(mutants(clips, given.count, given.seed))
    outcomes: Counter[str] = Counter()
    failed, slowest, largest = 0, 0.0, 0
    for start in range(0, len(made), BATCH):
        batch = folder / "batch"
        shutil.rmtree(batch, ignore_errors=True)
        batch.mkdir()
        for name, data in made[start : start + BATCH]:
            (batch / name).write_bytes(data)
        make_clip(batch / "sound.mp4", 10, seed=start)
        wrong, found = _in_process(batch)
        if found:
            outcomes.update(outcome for _, outcome, _, _ in found["videos"])
            slowest = max(slowest, found["seconds"])
            largest = max(largest, found["peak_bytes"])
        failed += bool(wrong)
        for text in wrong:
            sys.stdout.write(f"batch {start // BATCH}: {text}\n")
        if wrong and given.keep:
            shutil.copytree(batch, given.keep / str(start), dirs_exist_ok=True)
    sys.stdout.write(
        f"{len(made)} spoilt files (seed {given.seed}): {dict(outcomes)}, slowest batch of {BATCH}"
        f" {slowest:.1f} s, largest {largest >> 20} MiB, {failed} batches with faults\n"
    )
    return int(failed > 0)


def _in_process(batch: Path) -> tuple[list[str], dict | None]:
    command = [sys.executable, "-m", "tests.torture.files", "--batch", str(batch)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"not done after {MOST_SECONDS} s"], None
    if done.returncode:
        return [f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"], None
    found = json.loads(done.stdout.splitlines()[-1])
    return faults(found, {path.name for path in batch.iterdir()}), found


if __name__ == "__main__":
    sys.exit(main())
