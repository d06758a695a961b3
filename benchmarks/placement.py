"""How long an optimal placement takes: run ``python benchmarks/placement.py``.

First 200 pieces on 6 sites, as a linear program and with the start of each site decided as well;
then 1,000 random states, in all processes the machine has, with their bounds checked and the greedy
rule beside each.
"""

import os
import platform
import time
from statistics import median

import numpy as np
import scipy

from kvlib import model
from kvlib.hardware import Link
from kvlib.placement import Case, Site, System, costs, evaluate, greedy, optimum
from kvlib.segments import Requests, State, pieces
from kvlib.study import sweep

STATES = 1000
LIMIT = 0.050
FACTOR = 1.25  # within which the greedy must be


def system() -> System:
    """A GPU, units beside DRAM banks, two kinds of modules, a host and a drive that only stores."""
    near = {
        "pim": (24e12, 1.0, 80e9, 450e9), "cxl": (0.9e12, 7.5, 512e9, 63e9),
        "dimm": (1.2e12, 4.0, 1e12, 63e9), "host": (0.25e12, 13.0, 1e12, 63e9),
        "ssd": (19e9, 0.0, 8e12, 8e9),
    }  # fmt: skip
    sites = [Site(name="gpu", bandwidth=3e12, peak=680e12, capacity=72e9, latency=9.7e-6)]
    links = {}
    for name, (bandwidth, ridge, capacity, link) in near.items():
        peak = ridge * bandwidth
        sites.append(Site(name=name, bandwidth=bandwidth, peak=peak, capacity=capacity))
        links["gpu", name] = Link(name=name, bandwidth=link, latency=1e-6)
    return System("six sites", tuple(sites), links, "gpu")


def state(seed: int, groups: int) -> Case:
    """Groups of requests of their own numbers, lengths and prefixes: two pieces each."""
    random = np.random.default_rng(seed)
    sharers = random.permutation(np.arange(2, 2 + groups))
    served = [
        Requests(model("llama-3-8b"), random.integers(200, 2000, n) + 512, prefix=512,
                 query_tokens=1 + i, accepted=1.0)
        for i, n in enumerate(sharers)
    ]  # fmt: skip
    cache = pieces(State(served))
    return Case(pieces=cache, system=system(), startup=False)


def solve(seed: int) -> tuple[float, float]:
    """Place one random state, check it; processor time that took [s], and greedy over optimum.

    The greedy is asked for states of up to eight pieces: it takes longer than the solver.
    """
    case = state(seed, 1 + seed % 12).replace(startup=bool(seed % 2))
    start = time.process_time()
    found = optimum(case)
    spent = time.process_time() - start
    assert found
    assert found.gap < 1e-4
    taken = evaluate(found.placement).time
    assert np.isclose(taken, found.time, rtol=1e-6)
    if len(case.pieces) > 8:
        return spent, np.nan
    simple = greedy(case)
    assert simple
    return spent, evaluate(simple).time / taken


def main() -> None:
    """Print both."""
    versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}"
    print(f"Python {platform.python_version()}, {versions}; processor time of one thread")
    case = state(0, 100)
    assert len(case.pieces) == 200
    optimum(case)  # the first call imports
    for what, each in (("linear program", case), ("and starts", case.replace(startup=True))):
        spent = []
        for _ in range(5):
            costs.cache_clear()
            start = time.process_time()
            found = optimum(each)
            spent.append(time.process_time() - start)
            assert found
        print(f"{what:15} 200 pieces x 6 sites: {1e3 * median(spent):5.1f} ms, gap {found.gap:.0e}")
        if each is case:
            assert median(spent) < LIMIT, f"slower than {1e3 * LIMIT:.0f} ms"
    start, processes = time.perf_counter(), os.cpu_count() or 1
    rows = sweep(solve, range(STATES), processes=processes, progress=True)
    seconds, times = time.perf_counter() - start, [spent for spent, _ in rows]
    print(
        f"{STATES} states in {seconds:.1f} s on {processes} processes, "
        f"median {1e3 * median(times):.1f} ms a state to solve"
    )
    ratios = np.array([ratio for _, ratio in rows if ratio == ratio])
    print(
        f"greedy over optimum, {len(ratios)} states: median {np.median(ratios):.4f}, "
        f"99th percentile {np.quantile(ratios, 0.99):.3f}, at most {ratios.max():.3f}"
    )
    assert ratios.max() < FACTOR, f"the greedy is beyond {FACTOR} times the optimum"


if __name__ == "__main__":
    main()
