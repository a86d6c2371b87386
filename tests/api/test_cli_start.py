"""What a command may load before it has anything to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {  # not pydantic itself: typer reads arguments by it
    *("torch", "triton", "transformers", "tokenizers", "safetensors", "numpy", "pyarrow", "duckdb"),
    *("faiss", "av", "PIL", "sqlglot", "pydantic_settings", "fastapi", "uvicorn"),
    *("matplotlib", "asyncio", "engine.session"),
}
PROGRAM = r"""
import json, re, sys
from api.cli.start import main
try:
    main()
except SystemExit as ended:
    code = ended.code
peak = re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())
told = {"code": code, "modules": list(sys.modules), "megabytes": int(peak[1]) / 1024}
print(json.dumps(told), file=sys.stderr)
"""


def load(*arguments: str) -> dict[str, object]:
    """Run a command in a process of its own and tell what it had loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True
    )
    told: dict[str, object] = json.loads(done.stderr.splitlines()[-1])
    return told


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("--help",), 0),  # it imports every module that defines a command
        (("querry",), 2),
        (("query",), 2),
        (("sql", "--nothing"), 2),
        (("ingest", "--help"), 0),
        (("bench", "--help"), 0),
        (("videos", "ls", "--data", "/nowhere"), 1),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_nothing_heavy_is_loaded_before_there_is_work(
    arguments: tuple[str, ...], code: int
) -> None:
    found = load(*arguments)
    assert found["code"] == code
    assert HEAVY & set(found["modules"]) == set()  # type: ignore[call-overload]
    assert found["megabytes"] < 100  # type: ignore[operator]


@pytest.mark.parametrize(
    "arguments",
    [
        ("videos", "ls"),
        ("videos", "show", "one.mp4"),
        ("jobs", "ls"),
        ("index", "status"),
        ("sql", "SELECT count(*) FROM videos"),
        ("sql", "SELECT name, count(*) FROM frames JOIN videos USING (video_id) GROUP BY name"),
    ],
    ids=" ".join,
)
def test_reading_what_is_stored_loads_no_model(data: Path, arguments: tuple[str, ...]) -> None:
    found = load(*arguments, "--data", str(data))
    assert found["code"] == 0
    assert {"torch", "triton", "transformers", "av"} & set(found["modules"]) == set()  # type: ignore[call-overload]


def test_a_text_is_encoded_once_and_without_a_compiler(data: Path) -> None:
    found = [load("query", "a star of its own", "--data", str(data)) for _ in range(2)]
    assert [each["code"] for each in found] == [0, 0]
    first, again = (set(each["modules"]) for each in found)  # type: ignore[call-overload]
    assert "torch" in first
    assert {"torch._dynamo", "torch._inductor", "sympy"} & first == set()
    assert {"torch", "triton", "transformers", "tokenizers", "av"} & again == set()


def test_a_command_imports_its_own_module_only() -> None:
    loaded = set(load("world", "--help")["modules"])  # type: ignore[call-overload]
    assert "api.cli.world" in loaded
    assert {"api.cli.ask", "api.cli.bench", "api.cli.train"} & loaded == set()


def test_a_misspelt_command_names_the_nearest() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from api.cli.start import main; main()", "querry"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.strip() == "error: No such command 'querry'. Did you mean 'query'?"
