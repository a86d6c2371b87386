"""What a part says of a video just entered is what the catalog would say of it."""

import pytest

from engine.storage.describe import describe
from engine.storage.parts import Piece
from engine.storage.records import Holding
from engine.storage.sampling import Sampling
from engine.video.gop import Gop

GOPS = [Gop(at, 2.0 * at, 2.0 * at + 2, 24, 512 * at) for at in range(5)]


@pytest.mark.parametrize("status", ["ingesting", "registered"])
@pytest.mark.parametrize("in_use", [True, False])
def test_it_need_not_be_looked_up(empty_store, space, make_info, status, in_use) -> None:
    catalog, database = empty_store.catalog, empty_store._database
    stored = catalog.add_space(space)
    if not in_use:
        with database.transaction() as cursor:
            cursor.execute("DELETE FROM settings WHERE name = 'space'")
    entered = catalog.enter(make_info("/videos/a.mp4"), "c" * 64, "a.mp4", gops=GOPS, status=status)
    held = [Holding(entered.video_id, Sampling(2), "dense", 0)]
    piece = Piece("dense", 0, 2.0, 6.0, 8)
    assert entered.video_id in database.entered
    known = describe(database, stored.space_id, held, [piece])
    database.entered.clear()
    assert known == describe(database, stored.space_id, held, [piece])
    assert [gop[0] for gop in known[0].gops] == [1, 2]


def test_whatever_is_said_of_a_video_is_looked_up(empty_store, space, make_info) -> None:
    catalog, database = empty_store.catalog, empty_store._database
    stored = catalog.add_space(space)
    video = catalog.enter(make_info("/videos/a.mp4"), "c" * 64, "a.mp4", gops=GOPS).video_id
    catalog.rename("a.mp4", "b.mp4")
    assert not database.entered
    held, piece = [Holding(video, Sampling(2), "dense", 0)], Piece("dense", 0, 0.0, 2.0, 4)
    [known] = describe(database, stored.space_id, held, [piece])
    assert known.names == (("b.mp4", "/videos/a.mp4"),)
