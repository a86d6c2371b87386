"""When a video was recorded, by its container and by its name."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.video.container import probe
from engine.video.recorded import NamePattern, container_time


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """The local time is two hours ahead of UTC."""
    known = os.environ.get("TZ")
    os.environ["TZ"] = "XXX-2"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if known is not None:
        os.environ["TZ"] = known
    time.tzset()


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2068, 1, 1)).map(
    lambda when: when.replace(microsecond=0)
)


@given(
    MOMENTS,
    st.sampled_from(["%Y%m%d_%H%M%SZ", "%Y-%m-%dT%H:%M:%S%z", "%s", "%Y.%j %H-%M-%S%z"]),
    st.sampled_from(["", "cam 1/", "GX01_", "a%b"]),
)
def test_a_name_says_what_strftime_wrote_in_it(when: datetime, pattern: str, before: str) -> None:
    aware = when.replace(tzinfo=UTC)
    pattern = pattern.replace("SZ", "S%z")
    epoch = str(int(aware.timestamp()))
    if pattern == "%s" and not 9 <= len(epoch) <= 10:
        return
    name = f"{before}{aware.strftime(pattern.replace('%s', epoch))}.mp4"
    assert NamePattern.read(pattern).time_of(name) == when


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("%Y%m%d_%H%M%S", "VID_20260301_083015.mp4", datetime(2026, 3, 1, 6, 30, 15)),
        ("%Y%m%d_%H%M%S", "20261301_083015/20260301_083015.mp4", datetime(2026, 3, 1, 6, 30, 15)),
        ("%Y%m%d", "120260301.mp4", None),  # another number
        ("%Y-%m-%d", "2026-02-30.mp4", None),
        ("%Y%m%d", "19040101.mp4", None),
        ("%d.%m.%y", "1.3.26 north.mp4", datetime(2026, 2, 28, 22)),
        ("%Y%m%dT%H%M%S.%f%z", "20260301T083015.25-0130", datetime(2026, 3, 1, 10, 0, 15, 250000)),
        ("100%%%Y%m%d", "100%20260301", datetime(2026, 2, 28, 22)),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("elsewhere")
def test_names_are_local_where_they_name_no_zone(
    pattern: str, name: str, expected: datetime | None
) -> None:
    assert NamePattern.read(pattern).time_of(name) == expected


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("%H%M", "gives no day"), ("", "gives no day"), ("%Y%m%d%", "gives no day"),
        ("%Y%m%d %Q", "has %Q; allowed: %Y %y"), ("%Y%Y%m%d", "has %Y twice"),
    ],
)  # fmt: skip
def test_patterns_that_are_none(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        NamePattern.read(pattern)


def test_what_containers_say() -> None:
    quick = {"com.apple.quicktime.creationdate": "2026-03-01T10:00:00+0200"}
    assert container_time({"creation_time": "2026-03-01T09:00:00.000000Z"}, quick) == datetime(
        2026, 3, 1, 8
    )
    assert container_time({"creation_time": "1904-01-01T00:00:00.000000Z"}) is None
    assert container_time({"creation_time": "soon"}, {"date": "2026"}, {}) is None
    assert container_time({"creation_time": "2026-03-01 09:00:00"}) == datetime(2026, 3, 1, 9)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_it_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    when = datetime(2026, 3, 1, 12, 30, 15)
    with av.open(str(tmp_path / f"v.{suffix}"), "w") as out:
        out.metadata["creation_time"] = f"{when.isoformat()}.000000Z"
        stream = out.add_stream("mpeg4", rate=Fraction(10))
        stream.width = stream.height = 16
        picture = np.zeros((16, 16, 3), np.uint8)
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(picture)), *stream.encode()]:
            out.mux(packet)
    assert probe(tmp_path / f"v.{suffix}").recorded_at == when
