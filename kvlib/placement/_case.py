"""What is to be placed, where, and under which schedule; and a placement of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import choose, positive
from kvlib.placement._system import System

if TYPE_CHECKING:  # its columns are used by name; the two modules do not depend on each other
    from kvlib.segments import Pieces

__all__ = ["SCHEDULES", "Case", "Placement", "Schedule", "Shortage", "SolverStopped"]

Schedule = Literal["barrier", "overlapped", "pipelined"]
SCHEDULES: tuple[str, ...] = ("barrier", "overlapped", "pipelined")


@dataclass(frozen=True, eq=False, kw_only=True)
class Case:
    r"""A cache to be placed in a system, and the rest of the step around it.

    Three schedules, with :math:`f_k` the time of all other operators in stage k at the hub and
    :math:`L_{ks}` the time of attention at resource s:

    .. math::

        t_\text{barrier} &= t_0 + \sum_k \left( f_k + \max_s L_{ks} \right) \\
        t_\text{overlapped} &= t_0 + \sum_k \max_s \left( L_{ks} + f_k [s = \text{hub}] \right) \\
        t_\text{pipelined} &= t_0 + \max_s \sum_k \left( L_{ks} + f_k [s = \text{hub}] \right)

    In the first there is one batch: attention waits for the projections, the next layer for both.
    In the second there are two: one is in attention while the other is not, in the same layer. In
    the third they are in different layers too: a bound that no schedule beats. The second and third
    need `dense` of two sub-batches, which read all weights twice.

    Parameters
    ----------
    pieces : kvlib.segments.Pieces
        What is to be placed.
    system : System
        Where it can be placed.
    schedule : {"barrier", "overlapped", "pipelined"}
        What runs at the same time.
    dense : array of float
        Time of all operators but attention, in all layers of each stage, of all sub-batches [s].
    outside : float
        Time outside the layers: embedding and LM head [s].
    weights : float
        Bytes of the hub's memory that are taken [B].
    tokens : float
        Tokens that the requests gain in a step.
    startup : bool
        Whether the time counts that sites and links lose in each layer in which they are used.

    Raises
    ------
    ValueError
        If `dense` does not have one time a stage, or a figure is negative.
    """

    pieces: "Pieces"
    system: System
    schedule: Schedule = "barrier"
    dense: Any = 0.0
    outside: float = 0.0
    weights: float = 0.0
    tokens: float = 1.0
    startup: bool = True

    def __post_init__(self) -> None:
        choose(self.schedule, SCHEDULES, "schedule")
        positive(True, dense=self.dense, outside=self.outside, weights=self.weights)
        positive(tokens=self.tokens)
        stages = len(self.pieces.stages)
        if np.size(self.dense) not in (1, stages):
            raise ValueError(
                f"dense has {np.size(self.dense)} times, but there are {stages} stages: give one "
                f"for each of {', '.join(map(str, self.pieces.stages))}."
            )
        object.__setattr__(self, "dense", np.broadcast_to(1.0 * np.asarray(self.dense), (stages,)))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other parts."""
        return replace(self, **changes)

    def delay(self, stage: int, executor: str) -> float:
        """Time lost in a stage if an executor is used in it at all [s]."""
        if not self.startup:
            return 0.0
        batches = 1 if self.schedule == "barrier" else 2
        return batches * self.pieces.stages[stage].layers * self.system.delay(executor)

    def room(self, memory: str) -> float:
        """Bytes a memory has left for the cache [B]; negative if the weights alone do not fit."""
        taken = self.weights if memory == self.system.memory(self.system.hub) else 0.0
        return self.system[memory].capacity - taken

    def shortage(self, memories: Iterable[str] | None = None) -> "Shortage | None":
        """Return what is missing if the cache is to live in some memories only, or None."""
        rooms = {name: self.room(name) for name in self.system.memories}
        chosen = set(rooms if memories is None else memories)
        needed = float(self.pieces.bytes.sum())
        full = min(rooms.values()) < 0
        if not full and needed <= sum(rooms[name] for name in chosen):
            return None
        used = {name: room for name, room in rooms.items() if name in chosen or room < 0}
        return Shortage(needed, used, {n: r for n, r in rooms.items() if n not in used})


@dataclass(frozen=True)
class Shortage:
    """Why a cache does not fit; false, where a placement is true.

    Parameters
    ----------
    needed : float
        Bytes to be held [B].
    rooms : mapping of str to float
        Bytes left in each memory that may be used; below zero where the weights do not fit [B].
    others : mapping of str to float
        Bytes left in the memories that may not [B].

    Examples
    --------
    >>> short = Shortage(120e9, {"gpu": 40e9, "pim": 50e9}, {"dram": 500e9})
    >>> print(bool(short), short.reason)
    False the cache takes 120 GB, but gpu has 40 GB left, pim has 50 GB left: 30 GB short. What...
    """

    needed: float
    rooms: dict[str, float]
    others: dict[str, float]

    def __bool__(self) -> bool:
        return False

    @property
    def missing(self) -> float:
        """Bytes missing [B]."""
        weights = sum(max(-room, 0.0) for room in self.rooms.values())
        return weights + max(self.needed - self._left, 0.0)

    @property
    def _left(self) -> float:
        return sum(max(room, 0.0) for room in self.rooms.values())

    @property
    def reason(self) -> str:
        """What is short, by how much, and the smallest change that fits."""
        gb = 1e9
        left = ", ".join(
            f"{name} has {room / gb:.4g} GB left" if room >= 0
            else f"{name} lacks {-room / gb:.4g} GB for the weights alone"
            for name, room in self.rooms.items()
        )  # fmt: skip
        ways = [f"{self.missing / gb:.4g} GB more"]
        if all(room >= 0 for room in self.rooms.values()):
            ways += [f"{100 * self._left / self.needed:.3g} % of the cache"]
        spare = {name: room for name, room in self.others.items() if room >= self.missing}
        ways += [f"leave to use {name}, with {room / gb:.4g} GB" for name, room in spare.items()]
        return (
            f"the cache takes {self.needed / gb:.4g} GB, but {left}: {self.missing / gb:.4g} GB "
            f"short. What would fit: {', or '.join(ways)}."
        )


@dataclass(frozen=True, eq=False)
class Placement:
    """Shares of each piece in each way to serve it.

    Parameters
    ----------
    case : Case
        What was placed.
    share : array of shape (pieces, options)
        Share of each piece in each of ``case.system.options``; every row adds up to 1.

    Raises
    ------
    ValueError
        If a share is negative, a row does not add up to 1, or a memory is overfull.
    """

    case: Case
    share: NDArray[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", np.asarray(self.share, dtype=float))
        shape = (len(self.case.pieces), len(self.case.system.options))
        if np.shape(self.share) != shape:
            raise ValueError(f"share has shape {np.shape(self.share)}, but {shape} is needed.")
        positive(True, share=self.share)
        sums = self.share.sum(axis=1)
        if np.any(np.abs(sums - 1) > 1e-9):
            worst = int(np.argmax(np.abs(sums - 1)))
            raise ValueError(
                f"shares of {self.case.pieces.names[worst]!r} add up to {sums[worst]}, not to 1."
            )
        for memory, held in self.held.items():
            if held > self.case.room(memory) * (1 + 1e-9) + 1e-3:
                raise ValueError(
                    f"{memory!r} would hold {held / 1e9:.6g} GB of cache and has room for "
                    f"{self.case.room(memory) / 1e9:.6g} GB."
                )

    @property
    def held(self) -> dict[str, float]:
        """Bytes of cache in each memory [B]."""
        bytes_in = self.case.pieces.bytes @ self.share
        found = dict.fromkeys(self.case.system.memories, 0.0)
        for option, size in zip(self.case.system.options, bytes_in, strict=True):
            found[option.home] += float(size)
        return found

    @property
    def split(self) -> int:
        """Pieces that are served in more than one way."""
        return int(np.count_nonzero((self.share > 1e-9).sum(axis=1) > 1))

    def table(self) -> dict[str, dict[str, float]]:
        """Shares above a millionth by names of piece and option."""
        options = [str(option) for option in self.case.system.options]
        return {
            name: {o: float(x) for o, x in zip(options, row, strict=True) if x > 1e-6}
            for name, row in zip(self.case.pieces.names, self.share, strict=True)
        }


class SolverStopped(RuntimeError):
    """The solver gave up before it could prove an optimum: there is no answer to use."""
