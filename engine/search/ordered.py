"""The best rows in one order, however many are asked for: a longer answer begins as a shorter."""

from dataclasses import replace
from typing import Final

import numpy as np

from engine.search.refiner import Ids, Query
from engine.storage.snapshot import Hits
from engine.storage.view import SpaceRows

MOST_EQUAL: Final = 4096  # rows that equal the last one, of which the first are told


def best_in_order(
    rows: SpaceRows, query: Query, count: int, places: Ids | None = None, *, exact: bool = False
) -> Hits:
    """Return the `count` best rows (of those at places), of equal ones those with the least ids.

    Where more than `MOST_EQUAL` equal the last one, which of them are among the best is open.
    """
    asked = count + 1
    hits = rows.search(query, asked, places, exact=exact)
    while len(hits.scores) == asked and asked <= count + MOST_EQUAL and _is_torn(hits, count):
        asked = count + 4 * (asked - count)
        hits = rows.search(query, asked, places, exact=exact)
    order = np.lexsort((hits.row_ids, -hits.scores))[:count]
    return replace(hits, row_ids=hits.row_ids[order], scores=hits.scores[order])


def _is_torn(hits: Hits, count: int) -> bool:
    """Whether rows beyond the last one that was found may equal the last one wanted."""
    falling = -np.sort(-hits.scores)
    return count > 0 and bool(falling[count - 1] == falling[-1])
