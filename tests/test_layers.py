"""Imports point one way only, no folders import each other, and nothing grows too large."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAYERS = [
    {"schemas", "kernels", "engine.closing", "engine.errors", "engine.printable"},
    {"engine.arguments", "engine.names", "engine.config_file", "engine.tracking", "engine.zones"},
    {"engine.caller", "engine.from_file", "engine.knowledge"},
    {"engine.objects"},
    {"engine.video"},
    {"engine.world"},
    {"engine.vision.strategies"},
    {"engine.vision.backbone"},
    {"engine.vision.fused"},
    {"engine.vision.model"},
    {"engine.vision.streaming"},
    {"engine.vision.earlygate", "engine.vision.interpolate", "engine.vision.reusevit"},
    {"engine.vision.emulated", "engine.vision.eventful", "engine.vision.merging"},
    {"engine.vision.rollout", "engine.vision.runlength"},
    {"engine.vision.action", "engine.vision.detect"},
    {"engine.vision.bounded"},
    {"engine.vision.registry"},
    {"engine.storage"},
    {"engine.cage", "engine.config", "engine.results"},
    {"engine.search"},
    {"engine.operators"},
    {"engine.planner"},
    {"engine.answering"},
    {"engine.training"},
    {
        "engine.activity",
        "engine.background",
        "engine.footage",
        "engine.uploads",
        "engine.ingesting",
        "engine.loading",
        "engine.pictured",
        "engine.readers",
        "engine.rows",
    },
    {"engine.acting", "engine.cluster", "engine.detecting"},
    {"engine.models_on_demand"},
    {"engine.commands", "engine.where"},
    {"engine.ingest", "engine.query", "engine.side_by_side", "engine.sql"},
    {"engine.asking"},
    {"engine.ask", "engine.deepen", "engine.library", "engine.migrating"},
    {"engine.contexts"},
    {"engine.calls", "engine.embeds", "engine.told"},
    {"engine.sharding"},
    {"engine.client_transcripts"},
    {"engine.client", "engine.protocol", "engine.session"},
    {"engine.evaluation"},
    {"engine.checking"},
    {"api"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
TWICE = 12
LIGHT = ("kernels", "engine.errors", "engine.names", "engine.vision", "engine.training")
HEAVY = {"av", "duckdb", "faiss", "pyarrow", "fastapi", "pydantic", "typer", "rich", "sqlglot"}


def unit_of(module: str) -> str | None:
    """Return the longest known prefix of a dotted module name."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in (3, 2, 1))
    return next((name for name in names if name in LEVEL), None)


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Return the dotted names that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


@cache
def sources() -> tuple[tuple[Path, str], ...]:
    """Return all source files of ours with their layer."""
    found = []
    for top in ("schemas", "kernels", "engine", "api"):
        for path in sorted((ROOT / top).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            unit = unit_of(module.removesuffix(".__init__"))
            if unit:
                found.append((path, unit))
    return tuple(found)


def python_files() -> list[Path]:
    """Return all files of ours but the tests."""
    tops = ("schemas", "kernels", "engine", "api")
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py"))]


def room_of(path: Path) -> str:
    """Name a file's folder, or the file itself where it lies beside other folders of code."""
    folder = path.parent
    beside = any(folder.glob("*/*.py"))
    return str((path.with_suffix("") if beside else folder).relative_to(ROOT))


def file_of(module: str) -> Path | None:
    """Return the file that defines a dotted name, if it is ours."""
    while module:
        base = ROOT / module.replace(".", "/")
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        module = module.rpartition(".")[0]
    return None


def test_imports_point_left() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, unit in sources()
        for name in imports_of(path)
        if (target := unit_of(name)) and target != unit and LEVEL[target] >= LEVEL[unit]
    ]
    assert wrong == []


def test_pixels_reach_vision_whoever_decoded_them() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, unit in sources()
        if unit.startswith("engine.vision")
        for name in imports_of(path)
        if name.startswith("engine.video")
    ]
    assert wrong == []


def test_the_api_asks_the_engine_alone() -> None:
    """What lies in the store is the engine's affair: its public methods say what is there."""
    files = sorted((ROOT / "api").rglob("*.py"))
    wrong = [f"{path.relative_to(ROOT)}:{found}" for path in files for found in reaches(path)]
    assert wrong == []


def reaches(path: Path) -> Iterator[str]:
    """Yield where a file takes another's private things, or what lies behind an engine."""
    tree = ast.parse(path.read_text())
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own = {node.attr for node in reads if getattr(node.value, "id", "") in ("self", "cls")}
    for node in reads:
        behind = getattr(node.value, "attr", "") == "catalog" or node.attr == "store"
        if behind or (is_private(node.attr) and node.attr not in own):
            yield f"{node.lineno} touches .{node.attr}"
    inside = ("engine.storage.store", "engine.storage.catalog", "engine.storage.reader")
    for name in imports_of(path):
        if name.startswith(inside) or is_private(name.rpartition(".")[2]):
            yield f" imports {name}"


def is_private(name: str) -> bool:
    """Whether a name is its own file's alone."""
    return name.startswith("_") and not name.endswith("__")


def test_every_file_has_a_layer() -> None:
    placed = {path for path, _ in sources()}
    loose = [path for path in sorted((ROOT / "engine").rglob("*.py")) if path not in placed]
    assert loose == [ROOT / "engine/__init__.py", ROOT / "engine/vision/__init__.py"]


def test_encoding_needs_no_heavy_imports() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path, unit in sources()
        if unit.startswith(LIGHT)
        for name in imports_of(path)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_no_rooms_import_each_other() -> None:
    needs: dict[str, set[str]] = {}
    for path in python_files():
        room = needs.setdefault(room_of(path), set())
        targets = (file_of(name) for name in imports_of(path))
        room.update(room_of(target) for target in targets if target)
        room.discard(room_of(path))
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise AssertionError(f"rooms import each other: {error.args[1]}") from error


def test_no_file_and_no_room_is_too_large() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in python_files()}
    tested = {
        path: len(path.read_text().splitlines()) for path in Path(__file__).parent.rglob("*.py")
    }
    assert {str(path): count for path, count in tested.items() if count > 400} == {}
    assert {str(path): count for path, count in lines.items() if count > 400} == {}
    rooms: Counter[Path] = Counter()
    for path, count in lines.items():
        rooms[path.parent] += count
    most = 0.15 * sum(lines.values())
    assert {str(room): count for room, count in rooms.items() if count > most} == {}


def test_few_class_names_occur_twice() -> None:
    """A logical node and its operator share a name, and little else does."""
    names = Counter(
        node.name
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert len(twice := sorted(name for name in names if names[name] > 1)) <= TWICE, twice
