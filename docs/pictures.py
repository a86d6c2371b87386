"""Takes the pictures of the page: makes a store of made-up clips, serves it, and opens the views.

`python -m docs.pictures docs/images` makes them anew; Chromium with its driver must be there.
"""

import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from engine.session import Engine
from engine.video.write import write_h264
from engine.world.clip import make_clip
from engine.world.render import render_frames
from tests.api.browser import Browser, count, driving, until
from tests.torture.server import serving

SIDE = 288  # pixels
WIDTH = 1280
SCENES: Mapping[str, int] = {  # names of clips, and the seeds that they are made from
    **{f"gate-{at}.mp4": seed for at, seed in enumerate((44, 46, 54, 47))},
    **{f"hall-{at}.mp4": seed for at, seed in enumerate((55, 48, 40, 52))},
    **{f"yard-{at}.mp4": seed for at, seed in enumerate((43, 50, 41, 45))},
}
PLACE = "in front of a sandy wooden fence"
THING = "a large checkered purple square on a dusky grid"


@dataclass(frozen=True, slots=True)
class Picture:
    """An address, what is there once it is drawn, what is done then, and what comes of that."""

    name: str
    address: str
    ready: str
    scheme: str = "light"
    then: str = ""
    after: str = "body"


FOUND = "#find-results .strip .line"
PICTURES = (
    Picture("home", "#find", "#examples-list .chip"),
    Picture("page", f"#find?q={quote(PLACE)}", FOUND),
    Picture(
        "player",
        f"#find?q={quote(THING)}",
        FOUND,
        "dark",
        "find('#find-results .card').click(); find('#show-boxes').click()",
        "#timeline .line",
    ),
    Picture(
        "video",
        "#video?id=1",
        "body:has(.filmstrip .tile) #video-body .chip",
        then="find('#video-body .chip').click()",
        after=".shown-frame",
    ),
    Picture("settings", "#settings", ".model-card table", "dark"),
)


def make_store(folder: Path) -> Path:
    """Make the clips and a store of them, with the objects of one that is shown."""
    clips = folder / "clips"
    clips.mkdir()
    for name, seed in SCENES.items():
        clip = make_clip(
            seed,
            "test",
            duration_seconds=12.0 + seed * 7 % 18,
            redundancy=0.75 + 0.02 * (seed % 10),
        )
        write_h264(clips / name, render_frames(clip, SIDE), clip.fps)
    with Engine.open(folder / "store", device="cpu") as engine:
        engine.ingest(clips, fps=4, strategy="reusevit")
        for text in (PLACE, THING):  # the first search makes rows exact
            first = engine.query(text, top_k=12, exact=True).moments[0]
        for video in (1, first.video_id):
            engine.sql("SELECT count(*) FROM detections WHERE video_id = ?", video)
    return folder / "store"


def take(browser: Browser, url: str, wanted: Picture) -> bytes:
    """Open a view as it is wanted and return what is seen."""
    browser.open("about:blank")
    browser.look(WIDTH, wanted.scheme)
    browser.open(url + wanted.address)
    until(lambda: count(browser, wanted.ready))
    browser.tell(f"const find = (css) => document.querySelector(css); {wanted.then}")
    until(lambda: count(browser, wanted.after))
    until(lambda: browser.tell(_STILL))
    return browser.picture()


# nothing moves, every picture in sight is there, and a player has come to its peak and stands
_STILL = """
const video = document.querySelector('#player[open] video');
if (video && (video.readyState < 4 || video.seeking)) return false;
video?.pause();
const inSight = (each) => each.checkVisibility() && each.getBoundingClientRect().top < innerHeight;
const seen = [...document.images].filter(inSight);
return seen.every((each) => each.naturalWidth) && !document.getAnimations().length;
"""


def main() -> None:
    """Make all pictures in a folder."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        store = make_store(folder)
        told = {"DEJAVU_VIDEO_ROOTS": str(folder / "clips")}
        with (
            serving(store, told) as (port, _),
            driving() as driver,
            closing(Browser(driver, folder / "profile")) as browser,
        ):
            for wanted in PICTURES:
                shown = take(browser, f"http://127.0.0.1:{port}/", wanted)
                (target / f"{wanted.name}.png").write_bytes(shown)


if __name__ == "__main__":
    main()
