"""The docs tell of what exists: files, dependencies, commands, endpoints, settings."""

import ast
import re
import tomllib
from importlib import import_module
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import engine
from api.cli.main import app
from engine.objects.settings import ObjectSettings
from engine.vision.strategies import STRATEGIES
from tests.test_layers import LEVEL

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "deploy/README.md"])


def commands(group: Any = None, prefix: str = "") -> list[str]:
    """Return every command as it is typed."""
    found = []
    for name, command in (group or get_command(app)).commands.items():
        below = getattr(command, "commands", None)
        found += commands(command, f"{prefix}{name} ") if below else [f"{prefix}{name}"]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = (ROOT / "docs/explanation/dependencies.md").read_text().lower()
    names = [re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]]
    assert [name for name in names if name not in table] == []


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    assert [name for name in commands() if f"dejavu-engine {name} " not in text] == []


def test_every_command_that_the_docs_name_exists() -> None:
    known = {command.split()[0] for command in commands()}
    named = {
        word
        for page in PAGES
        for word in re.findall(r"^(?:\.venv/bin/)?dejavu-engine ([a-z]+)", page.read_text(), re.M)
    }
    assert named <= known


def test_a_part_is_a_parquet_file() -> None:
    """What is trained has another word, in code and pages alike."""
    files = [path for top in ("api", "engine", "kernels") for path in (ROOT / top).rglob("*.py")]
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which says what was
    meant = re.compile(r"\b(reuse|trained|calibrated) parts\b", re.I)
    assert [str(path) for path in [*files, *pages] if meant.search(path.read_text())] == []


def test_every_endpoint_is_documented() -> None:
    text = (ROOT / "docs/reference/http.md").read_text()
    paths = []
    for file in (ROOT / "api/routes").glob("*.py"):
        tree = ast.parse(file.read_text())
        prefix = "".join(re.findall(r'APIRouter\(prefix="([^"]+)"', file.read_text()))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = getattr(node.func.value, "id", "")
                if owner == "router" and node.args and isinstance(node.args[0], ast.Constant):
                    path = prefix + node.args[0].value
                    paths.append(re.sub(r"\{(video|job)_id\}", "{id}", path))
    assert len(paths) > 10
    assert [path for path in paths if path != "/web/{name}" and path not in text] == []


def test_every_setting_is_documented() -> None:
    fields = [
        node.target.id
        for file in (ROOT / "engine/config.py", ROOT / "api/config.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    text = "".join((ROOT / "docs/reference" / name).read_text() for name in ("cli.md", "http.md"))
    assert [name for name in fields if f"DEJAVU_{name.upper()}" not in text] == []


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 700


@pytest.mark.parametrize("page", ["explanation/architecture.md", "glossary.md"])
def test_what_a_page_names_in_the_code_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"`((?:engine|api)\.[\w.]*)(?::([\w.]+))?`", text)
    assert len(named) >= 10
    for module, path in named:
        found = import_module(module)
        assert not path or attrgetter(path)(found) is not None


def test_every_word_of_the_glossary_is_used() -> None:
    listed = re.findall(r"^\| ([^|]+?) \|", (ROOT / "docs/glossary.md").read_text(), re.M)[1:]
    pages = [page for page in PAGES if page.name != "glossary.md"]
    text = " ".join(page.read_text().lower() for page in pages)
    words = [word for entry in listed for word in entry.lower().split(", ")]
    assert len(words) > 15
    assert [word for word in words if word not in text] == []


def pages_in_nav() -> set[str]:
    """Return the pages that the site's menu leads to."""
    menu = (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1]
    return set(re.findall(r": ([\w/-]+\.md)$", menu, re.M))


def test_every_page_is_in_the_menu() -> None:
    made = {"reference/flags.md", "reference/settings.md"}  # of the code itself
    pages = {str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")}
    assert pages_in_nav() == pages | made


def test_the_list_for_language_models_names_every_page() -> None:
    text = (ROOT / "docs/llms.txt").read_text()
    listed = re.findall(r"\]\(([^)]+)\)", text)
    written = {page for page in pages_in_nav() if (ROOT / "docs" / page).exists()}
    assert sorted(listed) == sorted(written)
    pytest.importorskip("mkdocs")
    found = import_module("docs.generate").site_links(text)
    assert re.findall(r"\]\(([^)]+)\)", found) == [f"{page[:-3]}.html" for page in listed]


def test_the_order_of_imports_is_the_one_that_is_held() -> None:
    text = (ROOT / "docs/explanation/architecture.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("`schemas, kernels ←"))
    order = [step.split(", ") for step in re.sub(r" \([^)]*\)", "", line.strip("`")).split(" ← ")]
    levels: list[list[int]] = []
    for step in order:
        top = "engine." if step[0].startswith("engine.") else ""
        names = [name if "." in name or not top else top + name for name in step]
        levels.append(
            [at for n, at in LEVEL.items() if any(n == x or n.startswith(f"{x}.") for x in names)]
        )
    assert all(levels)
    for before, after in pairwise(levels):
        assert max(before) < min(after)


def test_every_public_name_has_its_entry() -> None:
    text = (ROOT / "docs/reference/python.md").read_text()
    entries = re.findall(r"^::: (\S+)$", text, re.M)
    homes = {name: getattr(engine, name).__module__ for name in engine.__all__}
    lacking = [n for n, home in homes.items() if not {home, f"{home}.{n}"} & set(entries)]
    assert lacking == []


def test_every_strategy_is_listed_where_one_is_set() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    row = next(line for line in text.splitlines() if "`DEJAVU_STRATEGY`" in line)
    assert [name for name in ("auto", *STRATEGIES.own) if name not in row] == []


def test_a_tag_builds_what_the_page_says() -> None:
    flow = (ROOT / ".github/workflows/release.yml").read_text()
    for part in ('tags: ["v*"]', "python -m build", "dejavu-engine demo", "make docs", "dist/"):
        assert part in flow
    assert ".github/workflows/release.yml" in (ROOT / "docs/how-to/release.md").read_text()


def test_every_setting_of_objects_is_documented() -> None:
    text = (ROOT / "docs/how-to/object-storage.md").read_text()
    for name in ObjectSettings.model_fields:
        assert f"| `DEJAVU_OBJECT_{name.upper()}` |" in text
