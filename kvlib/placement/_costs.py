"""A case as arrays: seconds that each way to serve each piece takes of each resource.

The optimum and the rules use these; `evaluate` does not, so that it can check them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.placement._case import Case

__all__ = ["Costs", "costs"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Costs:
    """Times of a step as linear functions of the shares.

    Parameters
    ----------
    resources : tuple of str
        Processors, memories in which several take turns, and each link in both directions.
    use : array of shape (resources, pieces, options)
        Time that a whole piece takes of a resource [s].
    kind : array of shape (pieces,)
        Kind of layer that each piece belongs to.
    stage : array of shape (kinds,)
        Which maximum each kind belongs to: one for each, or one for all.
    fixed : array of shape (stages, resources)
        Time that other operators take beside attention [s].
    serial : float
        Time outside all maxima [s].
    delay : array of shape (kinds, executors)
        Time lost in layers of a kind in which an executor is used at all [s].
    executor : array of shape (options,)
        Number of the site that works.
    scores : array of shape (resources, executors, 2)
        Time of a byte of scores that leaves an executor, or comes to it [s/B].
    case : Case
        What was costed.
    """

    resources: tuple[str, ...]
    use: Array
    kind: Array
    stage: Array
    fixed: Array
    serial: float
    delay: Array
    executor: Array
    scores: Array
    case: Case

    @cached_property
    def stages(self) -> Array:
        """Which maximum each piece belongs to, of shape (pieces,)."""
        return np.asarray(self.stage[self.kind])

    @cached_property
    def busy(self) -> Array:
        """Whether a piece is read at all, and so makes an executor start."""
        return np.asarray(self.case.pieces.touched > 0)

    @cached_property
    def parted(self) -> tuple[tuple[int, int], ...]:
        """Entries of keys and of their values, where they are parted."""
        return self.case.pieces.parted

    @cached_property
    def homes(self) -> Array:
        """Bytes of a whole piece in each memory, of shape (memories, pieces, options)."""
        options, memories = self.case.system.options, self.case.system.memories
        at = np.array([[option.home == memory for option in options] for memory in memories])
        return at[:, None, :] * self.case.pieces.bytes[None, :, None]

    def loads(self, share: Array) -> Array:
        """Time that each resource is busy in each stage, of shape (stages, resources) [s]."""
        by_piece = np.einsum("rpo,po->pr", self.use, share)
        total = self.fixed.copy()
        np.add.at(total, self.stages, by_piece)
        at = share @ (self.executor[:, None] == np.arange(self.delay.shape[1]))
        used = np.zeros(self.delay.shape)
        np.maximum.at(used, self.kind[self.busy], at[self.busy])
        for stage, lost in zip(self.stage, self.delay * (used > 1e-9), strict=True):
            total[stage, : len(lost)] += lost
        for keys, values in self.parted:
            apart = (at[keys] - at[values]) * self.case.pieces.scores[keys]
            total[self.stages[keys]] += self.scores[:, :, 0] @ np.maximum(apart, 0)
            total[self.stages[keys]] += self.scores[:, :, 1] @ np.maximum(-apart, 0)
        return total

    def time(self, share: Array) -> float:
        """Time of a step [s]."""
        return self.serial + float(self.loads(share).max(axis=1).sum())


@lru_cache(maxsize=16)
def costs(case: Case) -> Costs:
    """Work out what each way to serve each piece takes."""
    system, pieces = case.system, case.pieces
    names = [site.name for site in system.sites]
    pairs = list(system.links)
    turns = {memory: len(names) + i for i, memory in enumerate(system.shared)}
    first_link = len(names) + len(turns)
    resources = (
        *names,
        *(f"memory of {memory}" for memory in turns),
        *(f"{a} to {b}" for pair in pairs for a, b in (pair, pair[::-1])),
    )
    rate = np.array([float(link.bandwidth) for link in system.links.values()])
    use = np.zeros((len(resources), len(pieces), len(system.options)))

    def row(site: str) -> list[int]:
        """Rows that are busy while a site reads its memory."""
        memory = system.memory(site)
        return [names.index(site)] + ([turns[memory]] if memory in turns else [])

    def send(start: str, end: str) -> list[tuple[int, float]]:
        """Rows of the links on a path, and seconds for each byte."""
        hops = system.path(start, end)
        return [(first_link + 2 * h.link + (h.direction < 0), 1 / rate[h.link]) for h in hops]

    for o, (home, executor) in enumerate(system.options):
        site, hub = system[executor], system[system.hub]
        if system.memory(executor) == home:
            busy = np.divide(pieces.touched, site.rate(pieces.reuse))
            for r in row(executor):
                use[r, :, o] += busy
        else:
            use[names.index(executor), :, o] += pieces.flop / site.peak
            for r in row(home):
                use[r, :, o] += pieces.touched / system[home].bandwidth
            for r, seconds in send(home, executor):
                use[r, :, o] += pieces.touched * seconds
        for r in row(home):
            use[r, :, o] += pieces.appended / system[home].bandwidth
        for r, seconds in send(system.hub, home):
            use[r, :, o] += (pieces.appended + pieces.renewed) * seconds
        away = send(executor, system.hub)
        for r, seconds in send(system.hub, executor):
            use[r, :, o] += pieces.queries * seconds
        for r, seconds in away:
            use[r, :, o] += pieces.results * seconds
        for r in row(system.hub) if away else []:
            use[r, :, o] += pieces.results / hub.bandwidth

    scores = np.zeros((len(resources), len(names), 2))
    for s, name in enumerate(names):
        for way, path in enumerate((send(name, system.hub), send(system.hub, name))):
            for r, seconds in path:
                scores[r, s, way] += seconds
    delay = np.array([[case.delay(k, name) for name in names] for k in range(len(pieces.stages))])
    fixed = np.zeros((len(pieces.stages), len(resources)))
    serial = case.outside
    if case.schedule == "barrier":
        serial += float(case.dense.sum())
    else:
        fixed[:, row(system.hub)] = case.dense[:, None]
    stage = np.arange(len(pieces.stages))
    if case.schedule == "pipelined":
        stage, fixed = np.zeros_like(stage), fixed.sum(axis=0, keepdims=True)
    works = np.array([names.index(option.executor) for option in system.options])
    return Costs(resources, use, pieces.stage, stage, fixed, serial, delay, works, scores, case)
