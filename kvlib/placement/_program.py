"""The placement program in matrices, and the solver that is asked.

The one module here that needs SciPy to be imported: `optimum` does so when it is called.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import coo_array, csr_array, eye_array, hstack, kron, vstack

from kvlib.placement._case import SolverStopped
from kvlib.placement._costs import Costs

__all__ = ["Program"]


class Program:
    """The program in matrices; times in units of `scale`, bytes in units of each capacity."""

    def __init__(
        self,
        cost: Costs,
        groups: NDArray[Any],
        allowed: NDArray[np.bool_],
        whole: bool,
    ) -> None:
        self.cost, self.case, self.whole = cost, cost.case, whole
        options = cost.use.shape[2]
        self.groups, self.count, self.options = groups, int(groups.max()) + 1, options
        self.stages = len(cost.fixed)
        best = cost.use.max(axis=0).min(axis=1)
        self.scale = float(best.sum() + cost.fixed.max() + cost.delay.max()) or 1.0
        units = self.case.pieces.units if whole else np.ones(self.count)
        self.units = np.bincount(self.groups, units) if whole else units
        rooms = [self.case.room(option.home) > 0 for option in self.case.system.options]
        self.upper = np.repeat(self.units, options) * np.tile(allowed & rooms, self.count)
        self._build()

    def _shares(self, coefficients: NDArray[Any]) -> csr_array:
        """Turn coefficients of shape (rows, pieces, options) into columns of the unknowns."""
        summed = np.zeros((len(coefficients), self.count, self.options))
        for piece, group in enumerate(self.groups):
            summed[:, group] += coefficients[:, piece]
        return csr_array((summed / self.units[:, None]).reshape(len(coefficients), -1))

    def _build(self) -> None:
        cost, case, k = self.cost, self.case, self.stages
        resources, sites = len(cost.resources), cost.delay.shape[1]
        by_stage = np.concatenate(
            [cost.use * (cost.stages == stage)[None, :, None] for stage in range(k)]
        )
        loads = self._shares(by_stage) / self.scale
        self.rooms = np.array([case.room(memory) for memory in case.system.memories])
        sizes = np.where(self.rooms > 0, self.rooms, np.inf)[:, None, None]
        capacity = self._shares(cost.homes / sizes)
        waits = -np.repeat(np.eye(k), resources, axis=0)
        kinds = len(cost.delay)
        starts = np.zeros((k * resources, kinds * sites))
        for kind, stage in enumerate(cost.stage):
            for site in range(sites):
                starts[stage * resources + site, kind * sites + site] = cost.delay[kind, site]
        pairs, apart = self._apart()
        blocks = [
            hstack([loads, csr_array(waits), csr_array(starts / self.scale), apart]),
            hstack([capacity, csr_array((len(self.rooms), k + kinds * sites + apart.shape[1]))]),
            pairs,
        ]
        full = np.full(len(self.rooms), 1 - 1e-9)
        limits = [-cost.fixed.ravel() / self.scale, full, np.zeros(pairs.shape[0])]
        self.binaries = kinds * sites if cost.delay.any() else 0
        if self.binaries:
            blocks.append(self._switches(apart.shape[1]))
            limits.append(np.zeros(blocks[-1].shape[0]))
        self.rows = csr_array(vstack(blocks))
        self.limits = np.concatenate(limits)
        n = self.count * self.options
        once = kron(eye_array(self.count), np.ones((1, self.options)))
        others = k + kinds * sites + apart.shape[1]
        self.equal = csr_array(hstack([once, csr_array((self.count, others))]))
        self.goal = np.concatenate([np.zeros(n), np.ones(k), np.zeros(others - k)])
        self.high = np.concatenate(
            [self.upper, np.full(k, np.inf), np.full(kinds * sites, float(self.binaries > 0)),
             np.full(apart.shape[1], np.inf)]
        )  # fmt: skip

    def _switches(self, trailing: int) -> csr_array:
        """Rows that let a share be above zero only where its executor has started."""
        cost, sites = self.cost, self.cost.delay.shape[1]
        found = {
            (group * self.options + o, kind * sites + cost.executor[o], self.units[group])
            for piece, (group, kind) in enumerate(zip(self.groups, cost.kind, strict=True))
            if cost.busy[piece]
            for o in range(self.options)
        }
        columns, switches, sizes = np.array(sorted(found)).reshape(-1, 3).T
        rows = np.arange(len(found))
        n = self.count * self.options
        left = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(rows), n + self.stages))
        right = coo_array((-sizes, (rows, switches)), shape=(len(rows), cost.delay.size))
        return csr_array(hstack([left, right, csr_array((len(rows), trailing))]))

    def _apart(self) -> tuple[csr_array, csr_array]:
        """Rows and columns for scores that travel between keys and values that are parted."""
        cost, sites = self.cost, self.cost.delay.shape[1]
        resources, n = len(cost.resources), self.count * self.options
        pairs = [p for p in self.case.pieces.parted if self.groups[p[0]] != self.groups[p[1]]]
        use = np.zeros((self.stages * resources, len(pairs) * sites * 2))
        rows = np.zeros((len(pairs) * sites * 2, n + self.stages + cost.delay.size))
        for number, (keys, values) in enumerate(pairs):
            at = cost.stages[keys] * resources
            for site in range(sites):
                for way, sign in enumerate((1.0, -1.0)):
                    column = (number * sites + site) * 2 + way
                    seconds = cost.scores[:, site, way] * self.case.pieces.scores[keys]
                    use[at : at + resources, column] = seconds / self.scale
                    for o in np.flatnonzero(cost.executor == site):
                        for piece, towards in ((keys, sign), (values, -sign)):
                            group = self.groups[piece]
                            rows[column, group * self.options + o] += towards / self.units[group]
        return csr_array(np.hstack([rows, -np.eye(len(rows))])), csr_array(use)

    def solve(
        self, time_limit: float
    ) -> tuple[NDArray[Any], float, float, dict[str, float], dict[str, float]]:
        """Solve, then once more with everything whole fixed, for a vertex and its prices."""
        low: NDArray[Any] = np.zeros_like(self.high)
        bound: float | None = None
        if self.binaries or self.whole:
            low, bound = self._whole(time_limit)
        found = linprog(
            self.goal, self.rows, self.limits, self.equal, self.units,
            bounds=np.stack([low, self.high], axis=1), method="highs-ds",
            options={"time_limit": time_limit, "primal_feasibility_tolerance": 1e-9},
        )  # fmt: skip
        if found.status != 0:
            raise SolverStopped(
                f"the linear program ended with status {found.status}: {found.message} There is no "
                f"placement to use. Raise time_limit = {time_limit} s, or merge pieces."
            )
        if bound is None:  # by weak duality, from the prices alone
            bound = float(
                found.ineqlin.marginals @ self.limits
                + found.eqlin.marginals @ self.units
                + np.sum(found.upper.marginals * np.where(np.isfinite(self.high), self.high, 0.0))
            )
        n = self.count * self.options
        shares = found.x[:n].reshape(self.count, -1) / self.units[:, None]
        shares = np.maximum(shares, 0.0)[self.groups]
        shares[shares < 1e-12] = 0.0
        shares /= shares.sum(axis=1, keepdims=True)
        waits = found.x[n : n + self.stages]
        duals = -found.ineqlin.marginals
        return (
            shares,
            self.cost.serial + self.scale * float(found.fun),
            self.cost.serial + self.scale * bound,
            self._capacity_prices(duals),
            self._blame(duals, waits),
        )

    def _whole(self, time_limit: float) -> tuple[NDArray[Any], float]:
        """Decide what is whole, fix it in the bounds, and return the proven bound."""
        n, k = self.count * self.options, self.stages
        integer = np.zeros_like(self.high)
        integer[:n] = self.whole
        integer[n + k : n + k + self.binaries] = 1
        ways = [LinearConstraint(self.rows, -np.inf, self.limits)]
        ways += [LinearConstraint(self.equal, self.units, self.units)]
        with _silent():
            found = milp(
                self.goal, integrality=integer, bounds=Bounds(0.0, self.high), constraints=ways,
                options={"time_limit": time_limit, "mip_rel_gap": 1e-6},
            )  # fmt: skip
        if found.status != 0:
            gap = getattr(found, "mip_gap", None)
            known = "no placement found" if gap is None else f"gap {100 * gap:.3g} % left"
            raise SolverStopped(
                f"the integer program ended with status {found.status} ({known}): {found.message} "
                f"There is no proven optimum. Raise time_limit = {time_limit} s, or place without "
                f"whole units."
            )
        fixed = np.round(found.x) * integer
        self.high = np.where(integer > 0, fixed, self.high)
        return fixed, float(found.mip_dual_bound)

    def _capacity_prices(self, duals: NDArray[Any]) -> dict[str, float]:
        """Seconds that one more byte in each memory would save."""
        rooms = duals[self.stages * len(self.cost.resources) :]
        return {
            name: float(self.scale * price / room) if room > 0 else 0.0
            for name, price, room in zip(
                self.case.system.memories, rooms[: len(self.rooms)], self.rooms, strict=True
            )
        }

    def _blame(self, duals: NDArray[Any], waits: NDArray[Any]) -> dict[str, float]:
        """Part of all waiting that each resource would save if it were infinitely much faster."""
        count = len(self.cost.resources)
        loads = duals[: self.stages * count].reshape(self.stages, count)
        part = waits @ loads / (waits.sum() or 1.0)
        return dict(zip(self.cost.resources, map(float, part), strict=True))


@contextmanager
def _silent() -> Iterator[None]:
    """Keep a note that HiGHS prints, whatever its options say, out of notebooks.

    It goes to the C library's standard output, "transformNewIntegerFeasibleSolution", when a
    solution is solved once more to repair rounding; the status tells of anything that matters.
    """
    try:
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no such descriptors, as in a browser
        yield
        return
    try:
        _flush()
        os.dup2(nowhere, 1)
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _flush() -> None:
    """Empty the C library's buffers, where it can be reached."""
    with suppress(ImportError, AttributeError, OSError, TypeError):
        import ctypes  # a browser's Python may not have it

        ctypes.CDLL(None).fflush(None)
