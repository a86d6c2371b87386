"""Records a day at the terminal: runs its commands on a folder of clips and writes what they say.

`python -m docs.record CLIPS docs/tutorial/day.md` makes the page anew. Times and sizes differ from
one machine to the next; which commands there are, and what stands in their tables, does not.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

FIRST = ("woman_dog_leash.mp4", "man_dog_bed_phone.mp4", "pouring_coffee.mp4")
LATER = "zoo_bear_vp9.webm"
COMMANDS = (
    'dejavu-engine query "a dog on a leash" --top 3',
    'dejavu-engine clip "a dog on a leash" --top 1 --out moments',
    'dejavu-engine sheet "a dog on a leash" --top 4 --out sheet.png',
    'dejavu-engine ask "what is poured?" --choice coffee --choice sand',
    'dejavu-engine sql "SELECT name, duration_seconds AS s, height FROM videos ORDER BY name"',
)
_HEAD = """# A day at the terminal

Recorded by `python -m docs.record CLIPS docs/tutorial/day.md` from four real clips of a few
seconds. The built-in model knows made-up clips alone, and says so: [a real model](first-model.md)
takes its place for what is to be relied on. Behind each command stands what its process took of a
processor, from its start to its end; the server, which has the model loaded, took what the command
itself says.
"""


@dataclass(frozen=True, slots=True)
class Said:
    """A command, what it said, and what it took."""

    command: str
    text: str
    processor_seconds: float


def record(clips: Path) -> Iterator[tuple[str, list[Said]]]:
    """Run the day in a folder of its own; yield each part of it under its heading."""
    with tempfile.TemporaryDirectory() as folder:
        home, shown = Path(folder), Path(folder) / "clips"
        shown.mkdir()
        environment = {**os.environ, "COLUMNS": "100", "DEJAVU_VIDEO_ROOTS": str(shown)}
        for name in FIRST:
            shutil.copy(clips / name, shown / name)
        watched = _watch(home, environment, clips / LATER)
        yield "A folder that is watched, and a clip that comes later", [watched]
        with _Serving(home, environment):
            yield "Beside a server", [_run(each, home, environment) for each in COMMANDS]


def page(clips: Path) -> str:
    """Return the page."""
    parts = [_HEAD]
    for heading, said in record(clips):
        blocks = [
            f"$ {each.command}\n{each.text}\n# {each.processor_seconds:.1f} s of a processor"
            for each in said
        ]
        parts.append(f"## {heading}\n\n```\n" + "\n\n".join(blocks) + "\n```\n")
    return "\n".join(parts)


def _watch(home: Path, environment: Mapping[str, str], later: Path) -> Said:
    """Ingest what is there and what comes, until four videos are in; then Ctrl-C."""
    command = "dejavu-engine ingest clips --watch --rest 1"
    before = _used()
    with subprocess.Popen(
        _program(command), cwd=home, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    ) as ran:  # fmt: skip
        assert ran.stdout is not None
        lines = list[str]()
        for line in ran.stdout:
            if not line[:4].isdigit():  # the log's
                lines.append(line.rstrip())
            ready = sum(each.lstrip().startswith("ready ") for each in lines)
            if ready == len(FIRST) and not (home / "clips" / later.name).exists():
                shutil.copy(later, home / "clips" / later.name)
            if ready == len(FIRST) + 1:
                ran.send_signal(signal.SIGINT)
        ran.wait(60)
    return Said(command, "\n".join(lines), _used() - before)


class _Serving:
    """A server in the background."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            _program("dejavu-engine serve --port 0 --json"), cwd=home, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def __enter__(self) -> None:
        """Wait until it takes connections."""
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            if line.startswith("}"):
                break
        assert json.loads(text)["url"]

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _run(command: str, home: Path, environment: Mapping[str, str]) -> Said:
    before = _used()
    ran = subprocess.run(
        _program(command), cwd=home, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(f"{command}: {ran.stdout}")
    lines = [line.rstrip() for line in ran.stdout.splitlines() if "using the server" not in line]
    return Said(command, "\n".join(lines).strip("\n"), _used() - before)


def _program(command: str) -> Sequence[str]:
    program = "from api.cli.start import main; main()"
    return [sys.executable, "-c", program, *shlex.split(command)[1:]]


def _used() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def stable(text: str) -> list[str]:
    """Return the lines of a page that are the same on every machine: commands, heads, names."""
    begin = ("$ ", "## ", "name ", "#  ", "man_", "pouring_", "woman_", "zoo_")
    return [re.sub(r"\s+", " ", line) for line in text.splitlines() if line.startswith(begin)]


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(page(Path(sys.argv[1])))
