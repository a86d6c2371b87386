"""Imports point one way only."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"schemas", "kernels", "engine.errors"},
    {"engine.video"},
    {"engine.world"},
    {"engine.vision"},
    {"engine.storage"},
    {"engine.config", "engine.results"},
    {"engine.search"},
    {"engine.operators"},
    {"engine.planner"},
    {"engine.answering"},
    {"engine.background", "engine.ingesting"},
    {"engine.ingest", "engine.query", "engine.sql"},
    {"engine.ask"},
    {"engine.session"},
    {"engine.evaluation"},
    {"api"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
APART = {("engine.vision", "engine.video")}
LIGHT = {"kernels", "engine.vision", "engine.errors"}
HEAVY = {"av", "duckdb", "faiss", "pyarrow", "fastapi", "pydantic", "typer", "rich", "sqlglot"}


def unit_of(module: str) -> str | None:
    """Return the longest known prefix of a dotted module name."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in (2, 1))
    return next((name for name in names if name in LEVEL), None)


def imports_of(path: Path) -> list[str]:
    """Return the dotted names that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def sources() -> list[tuple[Path, str]]:
    """Return all source files of ours with their layer."""
    found = []
    for top in ("schemas", "kernels", "engine", "api"):
        for path in sorted((ROOT / top).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            unit = unit_of(module.removesuffix(".__init__"))
            if unit:
                found.append((path, unit))
    return found


def test_imports_point_left() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, unit in sources()
        for name in imports_of(path)
        if (target := unit_of(name))
        and target != unit
        and (LEVEL[target] >= LEVEL[unit] or (unit, target) in APART)
    ]
    assert wrong == []


def test_every_file_has_a_layer() -> None:
    placed = {path for path, _ in sources()}
    loose = [path for path in sorted((ROOT / "engine").rglob("*.py")) if path not in placed]
    assert loose == [ROOT / "engine" / "__init__.py"]


def test_encoding_needs_no_heavy_imports() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, unit in sources()
        if unit in LIGHT
        for name in imports_of(path)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []
