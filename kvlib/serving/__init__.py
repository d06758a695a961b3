"""Serving: who gets which part of the memory, and what it costs when that goes wrong.

`PagedCache` hands out blocks of a fixed number of tokens and shares, copies, evicts and preempts;
`ContiguousCache` reserves one stretch for each request. `replay` runs requests through either and
books every slot. The costs of the risks are pure functions of models, devices and links.

>>> cache = PagedCache(blocks=4, block_tokens=4)
>>> cache.start("a", [1, 2, 3, 4, 5]).fits, cache.start("b", [1, 2, 3, 4, 9]).found
(True, 4)
>>> cache.table("a"), cache.table("b")
((0, 1), (0, 2))
"""

from kvlib.serving.books import Replay, last_page_waste, used_share
from kvlib.serving.chances import affected, probes
from kvlib.serving.contiguous import ContiguousCache
from kvlib.serving.costs import copy_time, live_migration, recompute_time, tiered_read_time
from kvlib.serving.grants import Grant, Preempted
from kvlib.serving.lengths import draw_lengths
from kvlib.serving.paging import PagedCache
from kvlib.serving.replay import replay_contiguous, replay_paged
from kvlib.serving.rounding import attention_error, cache_with_outliers, logit_error, rounded

__all__ = [
    "Grant", "PagedCache", "Preempted", "ContiguousCache",
    "Replay", "draw_lengths", "replay_contiguous", "replay_paged",
    "affected", "copy_time", "last_page_waste", "live_migration", "probes", "recompute_time",
    "tiered_read_time", "used_share",
    "attention_error", "cache_with_outliers", "logit_error", "rounded",
]  # fmt: skip
