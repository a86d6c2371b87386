"""The notebook of the docs runs from its first cell to its last, and shows what it says."""

import ast
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from engine import QueryResult
from engine.video.container import probe

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs/tutorial/notebook.ipynb"


def run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return what its last line gives."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_every_cell_runs() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    cells = [each for each in notebook["cells"] if each["cell_type"] == "code"]
    assert len({each["id"] for each in notebook["cells"]}) == len(notebook["cells"])
    assert all(each["outputs"] == [] for each in cells)  # none that could be stale
    names: dict[str, Any] = {"__name__": "__main__"}
    drawn, shown = [], []
    for each in cells:
        shown.append(run("".join(each["source"]), names))
        if isinstance(shown[-1], QueryResult):  # while its engine is open, as a notebook does
            drawn.append(shown[-1]._repr_html_())
    expected, done = shown[1]
    assert expected == done > 0
    found = names["found"]
    assert isinstance(found, QueryResult)
    assert len(drawn) == 1
    assert 'src="data:video/mp4;base64,' in drawn[0]
    assert names["frame"].num_rows == len(found.moments)
    assert {moment.name.split("-")[0] for moment in names["north"].moments} == {"north"}
    assert names["scores"].arrow().num_rows == 6
    best = names["best"]
    assert Image.open(io.BytesIO(names["still"])).width <= 240
    assert Image.open(io.BytesIO(names["strip"])).width == 1200
    length = probe(names["clip_file"]).duration_seconds
    assert length > 0
    assert length <= best.stop_seconds - best.start_seconds + 0.2
