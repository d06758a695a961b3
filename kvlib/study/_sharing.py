"""How many requests of a real trace read a block at the same time, and what splitting then gains.

The counts are quoted from Mooncake's traces, whose files are no part of the project: mean tokens by
number of readers over 24 moments, in ``sharing.csv``. `count_readers` counts them anew.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.catalogue import model
from kvlib.placement import Case, System
from kvlib.segments import Prefix, Requests, State, pieces
from kvlib.study._opponents import against_plain

__all__ = ["Sharing", "count_readers", "sharing", "splitting_gain"]

Times = NDArray[np.float64]
MANY = 8
"""Blocks that more requests read are one entry, with their mean number of readers."""


@dataclass(frozen=True)
class Sharing:
    """Cached tokens by how many running requests read them, on the mean over some moments.

    Parameters
    ----------
    trace : str
        Name of the trace.
    token_time : float
        Time of a token that was assumed, which sets how long requests run [s].
    bound : {"upper", "lower"}
        Whether successive turns of one conversation may overlap, which counts too much sharing, or
        end when the next arrives, which may take two users of one document for one and count too
        little.
    active : float
        Requests that run.
    tokens : dict of float to float
        Tokens by number of readers.
    """

    trace: str
    token_time: float
    bound: str
    active: float
    tokens: dict[float, float]

    @property
    def readers(self) -> float:
        """Readers of a cached token, on the mean."""
        return sum(n * t for n, t in self.tokens.items()) / sum(self.tokens.values())

    @property
    def shared(self) -> float:
        """Part of the tokens held that more than one request reads."""
        return sum(t for n, t in self.tokens.items() if n > 1) / sum(self.tokens.values())


@cache
def sharing() -> tuple[Sharing, ...]:
    """Return the counts that the project quotes, by trace, token time and bound.

    Examples
    --------
    >>> for each in sharing()[:2]:
    ...     print(each.trace, each.token_time, each.bound, round(each.readers, 3))
    conversation 0.03 upper 1.038
    conversation 0.03 lower 1.037
    """
    text = files("kvlib.study").joinpath("sharing.csv").read_text("utf-8")
    found: dict[tuple[str, str, str, str], dict[float, float]] = {}
    for row in csv.DictReader(text.splitlines()):
        key = (row["trace"], row["token_time_s"], row["bound"], row["active"])
        found.setdefault(key, {})[float(row["readers"])] = float(row["tokens"])
    return tuple(
        Sharing(trace, float(seconds), bound, float(active), tokens)
        for (trace, seconds, bound, active), tokens in found.items()
    )


def count_readers(trace: Path, token_time: float, bound: str, *, moments: int = 24) -> Sharing:
    """Count readers in a trace of requests with 512-token blocks.

    A request reads its prompt's blocks, and what it has generated, from its arrival for as long as
    its answer takes.

    Parameters
    ----------
    trace : Path
        A file of one JSON object a line: ``timestamp`` [ms], ``input_length``, ``output_length``
        and ``hash_ids``.
    token_time : float
        Time of a token [s].
    bound : {"upper", "lower"}
        As for `Sharing`: for the lower one a request that extends an earlier one by its last block
        but one is that conversation's next turn, and the earlier one has ended.
    moments : int
        At how many moments between a fifth and 95 % of the arrivals.
    """
    requests = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    start = np.array([each["timestamp"] / 1e3 for each in requests])
    end = start + np.array([each["output_length"] for each in requests]) * token_time
    if bound == "lower":
        _end_turns(requests, start, end)
    times = np.linspace(np.quantile(start, 0.2), np.quantile(start, 0.95), moments)
    tokens: dict[float, float] = {}
    active = 0.0
    for moment in times:
        running = np.flatnonzero((start <= moment) & (moment < end))
        active += len(running) / moments
        own = float(np.sum((moment - start[running]) / token_time))
        tokens[1] = tokens.get(1, 0.0) + own / moments
        for readers, size in _blocks([requests[i] for i in running]):
            tokens[readers] = tokens.get(readers, 0.0) + size / moments
    few = {float(n): t for n, t in sorted(tokens.items()) if n <= MANY}
    many = {n: t for n, t in tokens.items() if n > MANY}
    if many:
        held = float(sum(many.values()))
        few[float(sum(n * t for n, t in many.items())) / held] = held
    return Sharing(trace.stem.removeprefix("mooncake_"), token_time, bound, active, few)


def _end_turns(requests: Sequence[dict[str, Any]], start: Times, end: Times) -> None:
    """End each request when one arrives that continues it: a block stands for all before it."""
    waiting: dict[int, list[int]] = {}
    for i, request in enumerate(requests):
        blocks = request["hash_ids"]
        for block in blocks:
            for earlier in waiting.pop(block, []):
                end[earlier] = min(end[earlier], start[i])
        if len(blocks) > 3:
            waiting.setdefault(blocks[-2], []).append(i)


def _blocks(running: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return readers and tokens of each block that any of the requests reads."""
    readers: dict[int, int] = {}
    tokens: dict[int, int] = {}
    for request in running:
        left = int(request["input_length"])
        for block in request["hash_ids"]:
            readers[block] = readers.get(block, 0) + 1
            tokens[block] = min(512, left)
            left -= tokens[block]
    return [(count, tokens[block]) for block, count in readers.items()]


def splitting_gain(counted: Sharing, name: str, system: System) -> float:
    """Gain of the optimum over the best rule of `kvlib.study.PLAIN`, on attention alone.

    Capacity and start-up are left aside, and the matrices too.

    Parameters
    ----------
    counted : Sharing
        Who reads what.
    name : str
        The model that serves them.
    system : System
        Where.

    Examples
    --------
    >>> from kvlib.study import box
    >>> round(splitting_gain(sharing()[0], "llama-3.1-70b", box("AttAcc")), 3)
    1.008
    """
    shape, many = model(name), ceil(counted.active)
    own = max(round(counted.tokens[1.0] / many), 1)
    groups: list[Requests | Prefix] = [Requests(shape, [own] * many, lifetime=343)]
    groups += [
        Prefix(shape, tokens, sharers=min(n, many), readers=min(max(n, n * tokens / 4096), many),
               lifetime=343)
        for n, tokens in counted.tokens.items() if n > 1 and tokens > 0
    ]  # fmt: skip
    for site in system.sites:
        system = system if site.beside else system.change(site.name, capacity=1e18)
    placed = Case(pieces=pieces(State(groups)), system=system, startup=False)
    return against_plain(placed)
