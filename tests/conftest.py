"""Fixtures that all tests share, and where kernels run without a GPU."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

# machines that only encode have no store to query
pytest_plugins = ["tests.asking"] if find_spec("duckdb") else []

# without a GPU the kernels run in Triton's interpreter, else a kernel test would compare the
# reference with itself; set before any module that imports triton is loaded
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


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
