"""Tracks against a slow definition, and against the scripts of the made-up world."""

from itertools import product
from math import hypot

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.tracking import FAR, PATIENCE, SWELL, Tracks
from engine.world.boxes import boxes_at
from engine.world.script import make_script

MOST = 32
Frames = list[tuple[int, NDArray[np.int64], NDArray[np.float64]]]


def drawn(seed: int) -> Frames:
    """Boxes of few labels that move, come and go; some frames have none, some are missing."""
    rng = np.random.default_rng(seed)
    places, speeds = rng.uniform(0.1, 0.7, (9, 2)), rng.normal(0, 0.05, (9, 2))
    frames = []
    for frame in range(60):
        if rng.random() < 0.15:
            continue
        shown = rng.permutation(np.flatnonzero(rng.random(9) < 0.7))
        low = places[shown] + speeds[shown] * frame % 0.8
        boxes = np.concatenate([low, low + rng.uniform(0.05, 0.12, (len(shown), 2))], 1)
        frames.append((frame, shown % 3, boxes))
    return frames


def slowly(frames: Frames) -> dict[tuple[int, int], int]:
    """Track numbers of boxes by frame and place: pair by pair, the best of all that are left."""
    ends: dict[int, tuple[int, int, NDArray[np.float64]]] = {}
    numbers: dict[tuple[int, int], int] = {}
    for frame, labels, boxes in frames:
        options = []
        order = list(ends)
        for (rank, track), at in product(enumerate(order), range(len(labels))):
            last, label, old = ends[track]
            new, gone = boxes[at], frame - last
            if gone > PATIENCE or label != labels[at]:
                continue
            width, height = old[2] - old[0], old[3] - old[1]
            other_width, other_height = new[2] - new[0], new[3] - new[1]
            mean = (hypot(width, height) + hypot(other_width, other_height)) / 2
            moved = hypot(
                (old[0] + old[2] - new[0] - new[2]) / 2, (old[1] + old[3] - new[1] - new[3]) / 2
            )
            swollen = width * height / (other_width * other_height)
            if moved / mean <= FAR * gone and 1 / SWELL <= swollen <= SWELL:
                options.append((gone, moved / mean, rank, at, track))
        told: dict[int, int] = {}
        while options:
            *_, at, track = min(options)
            told[at] = track
            options = [item for item in options if item[3] != at and item[4] != track]
        for at in range(len(labels)):
            track = told.get(at, frame * MOST + at)
            numbers[frame, at] = track
            ends.pop(track, None)
            ends[track] = (frame, int(labels[at]), boxes[at])
    return numbers


def follow(frames: Frames, cuts: int = 1) -> dict[tuple[int, int], int]:
    tracks = Tracks(MOST)
    for part in np.array_split(np.arange(len(frames)), cuts):
        # what was followed before is given again, as a store does
        known = [frames[at] for at in range(part[-1] + 1)]
        labels, boxes = np.zeros((len(known), MOST), np.int64), np.zeros((len(known), MOST, 4))
        scores = np.zeros((len(known), MOST), np.float32)
        for row, (_, own, sides) in enumerate(known):
            count = len(own)
            scores[row, :count], labels[row, :count], boxes[row, :count] = 0.5, own, sides
        numbers = np.array([frame for frame, *_ in known], np.int32)
        tracks.follow(numbers, scores, labels, boxes)
    keys = [(frame, at) for frame, own, _ in frames for at in range(len(own))]
    given = tracks.numbers(np.array([k[0] for k in keys], np.int32), np.array([k[1] for k in keys]))
    return dict(zip(keys, given.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_its_definition_however_it_is_cut(seed: int) -> None:
    frames = drawn(seed)
    expected = slowly(frames)
    assert follow(frames) == expected
    assert follow(frames, cuts=7) == expected
    lengths = np.unique(list(expected.values()), return_counts=True)[1]
    assert lengths.max() > 4
    assert (lengths == 1).any() or len(lengths) > 9


def test_true_boxes_of_made_up_clips_keep_their_tracks() -> None:
    """At two frames a second; a thing that leaves on one side comes back on the other anew."""
    switches = links = 0
    for seed in range(40):
        script = make_script(seed, "val", 8000, None)
        frames, things = [], {}
        for frame in range(16):
            tick = 500 * frame
            shot = script.shots.index(script.shot_at(tick))
            boxes = [box for box in boxes_at(script, tick) if box.visible > 0.3]
            things |= {(frame, at): (shot, box.number) for at, box in enumerate(boxes)}
            labels = np.array([hash_of(box.label) for box in boxes], np.int64)
            sides = np.array([box.sides for box in boxes]).reshape(-1, 4)
            frames.append((frame, labels, sides))
        before: dict[tuple[int, int], int] = {}
        for key, track in sorted(follow(frames).items()):
            thing = things[key]
            if thing in before:
                links += 1
                switches += before[thing] != track
            before[thing] = track
    assert links > 1000
    assert switches <= 0.06 * links


def hash_of(label: str) -> int:
    return sum(ord(letter) * 31**at for at, letter in enumerate(label)) % (1 << 40)
