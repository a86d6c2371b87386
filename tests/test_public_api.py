"""What a user imports."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine import errors


def test_what_is_exported_is_what_is_there() -> None:
    assert engine.__all__ == sorted(name for name in dir(engine) if not name.startswith("_"))
    for name in engine.__all__:
        assert getattr(engine, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Enigne'"):
        engine.Enigne  # noqa: B018


def test_every_export_has_its_type() -> None:
    """What type checkers see is what is there."""
    tree = ast.parse(Path(engine.__file__).read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = [alias.name for node in guarded.body for alias in node.names]  # type: ignore[attr-defined]
    assert sorted(typed) == engine.__all__


def test_every_error_is_exported() -> None:
    names = {name for name in vars(errors) if name.endswith("Error")}
    assert len(names) > 10
    assert names <= set(engine.__all__)


@pytest.mark.parametrize("top", ["api", "engine", "kernels", "schemas"])
def test_every_package_says_that_it_is_typed(top: str) -> None:
    assert (Path(engine.__file__).parents[1] / top / "py.typed").exists()


def test_engine_and_client_make_the_same_calls() -> None:
    for name, told in inspect.getmembers(engine.AnyEngine, inspect.isfunction):
        if name.startswith("_") and name not in ("__enter__", "__exit__"):
            continue
        expected = inspect.signature(told)
        for kind in (engine.Engine, engine.Client):
            found = inspect.signature(getattr(kind, name))
            assert list(found.parameters.values()) == list(expected.parameters.values()), name


def test_importing_the_package_is_light() -> None:
    code = "import sys, engine; print([m for m in ('torch', 'duckdb', 'av') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_encoding_imports_without_the_rest() -> None:
    """A machine that only encodes has torch, triton, transformers, numpy and safetensors."""
    code = (
        "import sys\n"
        "for name in 'av duckdb faiss pyarrow fastapi pydantic typer rich'.split():\n"
        "    sys.modules[name] = None\n"
        "import engine.vision.model, engine.vision.registry, engine.vision.bounded.bound\n"
        "import engine.world, engine.evaluation.bench.encode\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
