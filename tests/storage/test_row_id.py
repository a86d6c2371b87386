"""Row ids are packed and unpacked in one module."""

import re
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.storage import row_id

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("engine/storage", "engine/search", "engine/operators", "engine/planner", "api")


@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), max_size=20),
    st.integers(0, 2**31 - 1),
)
def test_what_is_packed_comes_back_in_the_same_order(
    pairs: list[tuple[int, int]], video: int
) -> None:
    videos, frames = np.array(pairs, np.int64).reshape(-1, 2).T
    packed = row_id.pack(videos, frames)
    assert row_id.videos_of(packed).tolist() == videos.tolist()
    assert row_id.frames_of(packed).tolist() == frames.tolist()
    assert np.argsort(packed, kind="stable").tolist() == np.lexsort((frames, videos)).tolist()
    assert row_id.videos_of(row_id.pack(video, frames)).tolist() == [video] * len(pairs)


def test_a_row_that_is_missing_is_named() -> None:
    assert row_id.no_row(int(row_id.pack(7, 3))) == "no row for frame 3 of video 7"


def test_nobody_else_shifts_bits() -> None:
    shift = re.compile(r"<< 32|>> 32|0xFFFFFFFF", re.IGNORECASE)
    found = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if path.name != "row_id.py" and shift.search(path.read_text())
    }
    assert not found


def test_no_sql_of_the_catalog_above_storage() -> None:
    reads = re.compile(
        r'"\s*(SELECT|INSERT|UPDATE|DELETE)\b[^"]*\b(stored_frames|segments|stretches|'
        r"aliases|parts|holdings|calibration|spaces|settings)\b"
    )
    found = [
        str(path.relative_to(ROOT))
        for room in ("engine", "api")
        for path in (ROOT / room).rglob("*.py")
        if (ROOT / "engine/storage") not in path.parents and reads.search(path.read_text())
    ]
    assert found == []
