"""Fixtures that all tests share, and where kernels run without a GPU."""

import os
import sys

# where tests run in a process for each processor, each computes by one thread
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from importlib.util import find_spec
from pathlib import Path
from typing import clear_overloads

import pytest
import torch

# machines that only encode have torch and little else: no store to query, no decoder
COMPLETE = all(find_spec(name) for name in ("av", "duckdb", "pyarrow", "faiss", "pydantic"))
ENCODING = tuple(map(Path, ("kernels", "vision", "training", "evaluation/test_bench_encode.py")))
pytest_plugins = ["tests.small", *(["tests.asking"] if COMPLETE else [])]

# without a GPU the kernels run in Triton's interpreter, else a kernel test would compare the
# reference with itself; set before any module that imports triton is loaded
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the time limit's setting where its plugin is not installed; nothing is limited then."""
    if find_spec("pytest_timeout") is None:
        parser.addini("timeout", "unused without pytest-timeout")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where only encoding can be tested, collect the tests of encoding alone."""
    if COMPLETE:
        return None
    inside = collection_path.relative_to(Path(__file__).parent)
    on_the_way = (inside.is_relative_to(path) or path.is_relative_to(inside) for path in ENCODING)
    return None if any(on_the_way) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the session, which would outlive the interpreter and DuckDB's types with it.

    torch's operators are never freed; they reach `typing`, its registry of overloads the plugins
    that pytest loaded, those their loader, which holds all that was configured: the session, its
    fixtures and their modules. nanobind then prints pages of what DuckDB leaked.
    """
    clear_overloads()
    hook = config.pluginmanager.rewrite_hook  # asks its configuration at every import
    if hook in sys.meta_path:
        sys.meta_path.remove(hook)
    vars(hook).pop("config", None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real clips and annotation files beside the checkout; without them the test is skipped."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside this checkout")
    return folder
