"""How long a command takes that has little to do, and how much memory: each in a process anew."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, time_ns

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
    """Time commands on a data folder, in turns; without one, on one made-up clip."""
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
        taken: dict[str, list[_Took]] = {}
        for number in range(rounds):
            text = ("query", f"a star that is number {number} of {time_ns()}", *place)
            turns = {**commands, "query, a new text": text, "query, the same again": text}
            for name, arguments in turns.items():
                taken.setdefault(name, []).append(_measure(arguments))
    columns = ("command", "processor s", "wall s", "peak MB", "loaded of torch, transformers")
    rows = [[name, *_figures(each)] for name, each in taken.items()]
    return Report(
        f"Start-up, medians of {rounds}", columns, rows,
        ("wall time is what other work on the machine leaves",),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Took:
    """What one process took, and what it loaded."""

    processor_seconds: float
    wall_seconds: float
    megabytes: float
    heavy: list[str]


def _measure(arguments: Sequence[str]) -> _Took:
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    processor, megabytes, heavy = json.loads(done.stderr.splitlines()[-1])
    return _Took(processor, perf_counter() - started, megabytes, heavy)


def _figures(taken: Sequence[_Took]) -> list[str | float]:
    figures = zip(
        *((each.processor_seconds, each.wall_seconds, each.megabytes) for each in taken),
        strict=True,
    )
    return [*(round(median(each), 2) for each in figures), ", ".join(taken[-1].heavy) or "none"]


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
