"""Machines that only encode have torch and little else: what is for a GPU is found there."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ENCODING

TESTS = Path(__file__).parent
# of what is installed for the whole engine, what has no place on such a machine
ABSENT = (
    "av", "click", "duckdb", "faiss", "fastapi", "httpx", "open_clip", "pandas", "polars",
    "pyarrow", "pydantic", "pydantic_settings", "pytest_timeout", "rich", "schemathesis",
    "sqlglot", "starlette", "typer", "uvicorn",
)  # fmt: skip
HIDING = f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name.split(".")[0] in {ABSENT!r} else find(name, *rest)
)
"""


def test_tests_for_a_gpu_are_found_where_only_encoding_is_installed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDING)
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
        ],
        cwd=TESTS.parent,
        env={
            **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(TESTS.parent))),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-3000:]
    marked = {
        str(path.relative_to(TESTS.parent))
        for room in ENCODING
        for path in (TESTS / room).rglob("test_*.py")
        if "pytest.mark.gpu" in path.read_text()
    }
    listed = {line.split(":")[0] for line in found.stdout.splitlines() if line.startswith("tests/")}
    assert listed == marked
