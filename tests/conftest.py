"""Fixtures that all tests share, and where kernels run without a GPU."""

import atexit
import os

# where tests run in a process for each processor, each computes by one thread
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

# stores sync what they write, thousands of times in all: in memory, where there is enough
MEMORY = Path("/dev/shm")
ROOM = shutil.disk_usage(MEMORY).free if os.access(MEMORY, os.W_OK) else 0
if "TMPDIR" not in os.environ and ROOM > 4 << 30:
    os.environ["TMPDIR"], tempfile.tempdir = str(MEMORY), None

# how long a query may make rows exact decides no test that does not ask for it
os.environ.setdefault("DEJAVU_REFINE_SECONDS", "3600")

# what a shell runs in the background ignores Ctrl-C, and so would what it starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# machines that only encode have torch and little else: no store to query, no decoder
COMPLETE = all(find_spec(name) for name in ("av", "duckdb", "pyarrow", "faiss", "pydantic"))
ENCODING = ("evaluation", "kernels", "training", "vision")  # rooms that such a machine can test
pytest_plugins = ["tests.small", *(["tests.asking", "tests.objects.served"] if COMPLETE else [])]

# without a GPU the kernels run in Triton's interpreter, else a kernel test would compare the
# reference with itself; set before any module that imports triton is loaded
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@atexit.register  # before all others, so it runs after them
def _end_in_silence() -> None:
    """Let the interpreter go down without a word.

    Extensions such as torch keep objects for good. Where these reach a module that imported duckdb,
    nanobind lists all that DuckDB has as leaked, pages of it, in a process that is over.
    """
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 2)
    os.close(silence)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the time limit's setting where its plugin is not installed; nothing is limited then."""
    if find_spec("pytest_timeout") is None:
        parser.addini("timeout", "unused without pytest-timeout")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where only encoding can be tested, collect what has tests for a GPU alone."""
    if COMPLETE:
        return None
    inside = collection_path.relative_to(Path(__file__).parent)
    if inside.parts and inside.parts[0] not in ENCODING:
        return True
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("pytest.mark.gpu" in path.read_text() for path in files) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real clips and annotation files beside the checkout; without them the test is skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside this checkout")
    return folder
