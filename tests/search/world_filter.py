"""Filters of made-up clips' frames by what they show: the targets hold, and what they cost.

`python -m tests.search.world_filter --runs 50 --clips 400 [--keep FOLDER]`: each run asks for one
shape, colour or both; what is shown when is read from the clips' scripts, the score and the vectors
are the built-in model's. With `--keep` encoded clips are kept for the next time.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from engine.search.guarantee import Flags, Targets, guaranteed_filter
from engine.training.vectors import ClipVectors, WorldPool, world_vectors
from engine.vision.model import load_model
from engine.world.scene import TICKS
from engine.world.splits import COLOURS, SHAPES
from tests.search.test_guarantee import by_threshold, holds, most_failures


def shown(clips: list[ClipVectors], colour: str | None, shape: str | None) -> Flags:
    """Whether each frame shows a thing of a colour and shape, by the scripts alone."""
    found = []
    for each in clips:
        for seconds in each.seconds.tolist():
            tick = round(seconds * TICKS)
            shot = each.clip.script.shot_at(tick)
            things = [thing for thing in shot.things if thing.shown_at(tick)]
            found.append(
                any(
                    shape in (None, thing.shape) and colour in (None, thing.colour_at(tick))
                    for thing in things
                )
            )
    return np.array(found, bool)


def least_share(true: Flags, targets: Targets) -> float:
    """About what share any scheme asks that holds for every population, were its ranking perfect.

    One yes more than may be missed could hide anywhere among the rest: so much of that has to be
    looked at that one of them is seen with the confidence.
    """
    yeses, rest = int(true.sum()), int((~true).sum())
    hidden = math.floor(yeses * (1 - targets.recall) / targets.recall) + 1
    return rest * (1 - (1 - targets.confidence) ** (1 / hidden)) / len(true)


def main() -> None:
    """Run and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", default="val")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    model, targets = load_model("builtin", device="cpu"), Targets()
    pool = WorldPool(given.split, given.clips, given.seed)
    clips = list(world_vectors(model, pool, keep=given.keep))
    vectors = np.concatenate([each.frames for each in clips]).astype(np.float32)
    asked = [(None, shape) for shape in SHAPES] + [(colour, None) for colour in COLOURS]
    random = np.random.default_rng(given.seed)
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    asked += [pairs[at] for at in random.permutation(len(pairs))]
    failed, fixed, calls, before, least, learnt = 0, 0, [], [], [], 0
    for run, (colour, shape) in enumerate(asked[: given.runs]):
        text = " ".join(word for word in (colour, shape or "thing") if word)
        true = shown(clips, colour, shape)
        score = (vectors @ model.embed_texts([f"is there a {text}?"])[0]).astype(np.float64)
        alone, found = (
            guaranteed_filter(
                score,
                lambda rows, true=true: true[rows],
                targets,
                np.random.default_rng([given.seed, run]),
                vectors=taken,
            )
            for taken in (None, vectors)
        )
        failed += not holds(found.passes, true, targets)
        fixed += not by_threshold(score, true, found.calls, run, targets)
        learnt += found.learnt
        calls.append(found.calls / len(true))
        before.append(alone.calls / len(true))
        least.append(least_share(true, targets))
        print(  # noqa: T201
            f"{text}: {true.mean():.1%} of {len(true):,} frames, asked {calls[-1]:.3f}, by the"
            f" score alone {before[-1]:.3f}, at least {least[-1]:.3f}",
            flush=True,
        )
    allowed = most_failures(len(calls), targets)
    print(  # noqa: T201
        f"{failed} of {len(calls)} fail (allowed {allowed:.0f}), a threshold fails {fixed}; asked"
        f" {np.mean(calls):.3f} of the frames (by the score alone {np.mean(before):.3f}), learnt in"
        f" {learnt}; at most a fifth in {sum(share <= 0.2 for share in calls)}, which no scheme"
        f" could in {sum(share > 0.2 for share in least)}"
    )


if __name__ == "__main__":
    main()
