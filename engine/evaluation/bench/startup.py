"""How long a command takes that has little to do, and how much memory: each in a process anew."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from engine.evaluation.report import Report
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames

# runs a command as the shell does, then tells on stderr what it took and loaded
_PROGRAM = """
import json, re, sys
from resource import RUSAGE_SELF, getrusage
from api.cli.start import main
try:
    main()
except SystemExit:
    pass
used = getrusage(RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())
heavy = [name for name in ("torch", "transformers") if name in sys.modules]
told = [used.ru_utime + used.ru_stime, int(peak[1]) / 1024, heavy]
print("\\n" + json.dumps(told), file=sys.stderr)
"""


def run(data: Path | None = None, *, rounds: int = 5) -> Report:
    """Time commands on a data folder; without one, on one made-up clip."""
    with TemporaryDirectory() as folder:
        store = data or _make_store(Path(folder))
        place = ("--data", str(store))
        commands = {
            "--version": ("--version",),
            "--help": ("--help",),
            "query --help": ("query", "--help"),
            "a usage error": ("querry",),
            "videos ls": ("videos", "ls", *place),
            "sql, videos": ("sql", "SELECT count(*) FROM videos", *place),
            "sql, frames": ("sql", "SELECT count(*) FROM frames", *place),
        }
        rows = [[name, *_measure(arguments, rounds)] for name, arguments in commands.items()]
    columns = ("command", "processor s", "wall s", "peak MB", "loaded of torch, transformers")
    return Report(
        f"Start-up, medians of {rounds}", columns, rows,
        ("wall time is what other work on the machine leaves",),
    )  # fmt: skip


def _measure(arguments: Sequence[str], rounds: int) -> list[str | float]:
    taken = []
    for _ in range(rounds):
        started = perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True
        )
        processor, megabytes, heavy = json.loads(done.stderr.splitlines()[-1])
        taken.append((processor, perf_counter() - started, megabytes))
    figures = [round(median(column), 2) for column in zip(*taken, strict=True)]
    return [*figures, ", ".join(heavy) or "none"]


def _make_store(folder: Path) -> Path:
    clip = make_clip(0, "test", duration_seconds=2.0)
    write_h264(folder / "clip.mp4", render_frames(clip, 96), clip.fps)
    program = (  # apart, so that this process keeps no model
        "import sys, engine\n"
        "with engine.Engine.open(sys.argv[1]) as opened:\n"
        "    opened.ingest(sys.argv[2], strategy='dense')"
    )
    store = folder / "data"
    subprocess.run(
        [sys.executable, "-c", program, str(store), str(folder / "clip.mp4")], check=True
    )
    return store
