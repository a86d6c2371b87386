"""One thread writes while others search: every answer is true of some moment."""

import threading
from collections.abc import Callable

import numpy as np

from engine.storage.sampling import Sampling
from engine.storage.store import Rows, Store
from engine.video.container import VideoInfo
from engine.vision.backbone.space import Space


def test_readers_never_see_half_a_change(
    empty_store: Store,
    make_rows: Callable[..., Rows],
    make_info: Callable[[str], VideoInfo],
    space: Space,
) -> None:
    store, query = empty_store, make_rows(0, 1).embeddings[0]
    video_id = store.catalog.add_video(make_info("/v.mp4"), "hash", "v")
    store.load_index(space.key)
    stop, wrong = threading.Event(), list[str]()

    def read() -> None:
        last = 0
        while not stop.is_set():
            seen = len(store.scores(space.key, query).row_ids)
            rows = len(store.rows(space.key, [video_id]))
            found = store.search(space.key, query, 1000)
            table = store.rows(space.key, columns=["row_id", "embedding"])
            if seen % 10 or rows % 10 or seen < last or len(found.row_ids) < seen:
                wrong.append(f"{last = } {seen = } {rows = } {len(found.row_ids) = }")
            if not (np.diff(found.scores) <= 0).all() or len(np.unique(found.row_ids)) < seen:
                wrong.append("unsorted or twice")
            if len(store.vectors(space.key, table.column("row_id").to_numpy())) < seen:
                wrong.append("vectors missing")
            last = seen

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for stretch in range(15):
        rows = make_rows(stretch * 10, stretch * 10 + 10, stretch)
        store.write_part(video_id, space.key, Sampling(2), "reusevit", stretch, 0.0, 1.0, rows)
        if stretch % 5 == 4:
            exact = make_rows(0, 3, 100 + stretch).embeddings
            store.supersede(space.key, video_id, np.array([0, 11, 25]), exact)
            store.compact()
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert len(store.search(space.key, query, 1000).row_ids) == 150
