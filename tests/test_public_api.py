"""What a user imports."""

import subprocess
import sys

import engine


def test_the_engine_is_all_there_is_to_import() -> None:
    assert engine.__all__ == ["Engine"]
    assert {name for name in dir(engine.Engine) if not name.startswith("_")} >= {
        *("open", "close", "ingest", "query", "sql", "ask", "explain"),
    }


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
