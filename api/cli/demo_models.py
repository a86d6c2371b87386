"""Two steps of the demo: what happens in a clip, and where a thing is in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli import show
from api.cli.ask import write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine import Engine
    from engine.world.action import ActionClip

SEED = 8  # of a clip in which one thing moves
CODED, SIZE = 12.0, 224
SURE = 0.3  # score of a box that is shown
HAPPENS = (
    "SELECT c.start_seconds, c.stop_seconds, ACTION(c.clip) AS happens\n"
    "FROM clips AS c JOIN videos AS v USING (video_id) WHERE v.name = $name ORDER BY 1"
)
WHERE = (
    "SELECT d.seconds, d.label, d.score, d.x0, d.y0, d.x1, d.y1, d.track\n"
    "FROM detections($label, {least}) AS d JOIN videos AS v USING (video_id)\n"
    "WHERE v.name = $name AND d.seconds < 3 ORDER BY d.seconds, d.score DESC"
)


def show_models(opened: "Engine", folder: Path) -> dict[str, Any]:
    """Make one more clip, ask what happens in it and where its moving thing is."""
    from engine.video.write import write_h264
    from engine.world.action import make_action

    clip = make_action(SEED, "test")
    thing = clip.script.shots[0].things[-1]  # what moves is drawn last
    label = f"{thing.colour_at(0)} {thing.shape}"
    path = folder / "motion.mp4"
    folder.mkdir(parents=True, exist_ok=True)
    write_h264(path, _frames(clip), CODED)
    opened.register(path)
    show.step("6", "what happens in one more clip, in which one thing moves")
    show.out.print(f"[dim]{HAPPENS}[/]")
    happens = opened.sql(HAPPENS, name=path.name).arrow()
    write_table(happens, "table")
    done = set(happens.column("happens").to_pylist()) == {clip.label}
    show.mark(done, f"the script says: {clip.label}")
    statement = WHERE.format(least=SURE)
    show.step("7", f"where its {label} is, in shares of the picture")
    show.out.print(f"[dim]{statement}[/]")
    boxes = opened.sql(statement, name=path.name, label=label).arrow()
    write_table(boxes, "table")
    rows = boxes.to_pylist()
    found = len(rows) > 0 and all(_is_there(clip, label, row) for row in rows)
    show.mark(found, f"the script has the {label} there each time, on half the joint area or more")
    return {
        "happens": happens.to_pylist(),
        "action_is_right": done,
        "boxes": rows,
        "boxes_are_right": found,
    }


def _frames(clip: "ActionClip") -> "Iterator[NDArray[np.uint8]]":
    import numpy as np

    from engine.world.render import render_planes

    for number in range(round(clip.script.duration / 1000 * CODED)):
        planes = render_planes(clip.script, round(1000 * number / CODED), SIZE)
        yield np.ascontiguousarray(planes.transpose(1, 2, 0))


def _is_there(clip: "ActionClip", label: str, row: dict[str, Any]) -> bool:
    """Whether the script has a thing of that label where a box says so."""
    from engine.world.boxes import boxes_at

    found = [row[side] for side in ("x0", "y0", "x1", "y1")]
    there = boxes_at(clip.script, round(1000 * row["seconds"]))
    return any(box.label == label and _shared(found, box.sides) >= 0.5 for box in there)


def _shared(one: "list[float]", other: tuple[float, float, float, float]) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    tall = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * tall / (sum(areas) - wide * tall)
