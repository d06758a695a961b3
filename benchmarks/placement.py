"""How long an optimal placement takes: run ``python benchmarks/placement.py``.

First 200 pieces on 6 sites, as a linear program and with the start of each site decided as well;
then 1,000 random states, in all processes the machine has, with their bounds checked.
"""

import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from statistics import median

import numpy as np
import scipy

from kvlib import model
from kvlib.hardware import Link
from kvlib.placement import Case, Site, System, costs, evaluate, optimum
from kvlib.segments import Requests, State, pieces

STATES = 1000
LIMIT = 0.050


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


def solve(seed: int) -> float:
    """Place one random state, check it, and return the processor time that took [s]."""
    case = state(seed, 1 + seed % 12).replace(startup=bool(seed % 2))
    start = time.process_time()
    found = optimum(case)
    spent = time.process_time() - start
    assert found
    assert found.gap < 1e-4
    assert np.isclose(evaluate(found.placement).time, found.time, rtol=1e-6)
    return spent


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
    start = time.perf_counter()
    times = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, spent_one in enumerate(pool.map(solve, range(STATES), chunksize=20), start=1):
            times.append(spent_one)
            if sys.stderr.isatty() or number == STATES:
                bar = "#" * (40 * number // STATES)
                print(f"\r[{bar:40}] {number}/{STATES} states", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(
        f"{STATES} states in {time.perf_counter() - start:.1f} s on {os.cpu_count()} processes, "
        f"median {1e3 * median(times):.1f} ms a state"
    )


if __name__ == "__main__":
    main()
