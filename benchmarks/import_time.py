"""Print how long `import kvlib` takes beyond NumPy, and how long a card takes to load.

``python benchmarks/import_time.py`` starts a fresh interpreter for each import and exits with
status 1 if the median is above its limit: 150 ms for the import, 5 ms for the slowest card.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from kvlib import device, model
from kvlib.catalogue._shelf import catalogue_names

IMPORT_LIMIT, CARD_LIMIT, REPEATS = 0.150, 0.005, 9
PROBE = """
import time
start = time.perf_counter()
import numpy
between = time.perf_counter()
import kvlib
print(between - start, time.perf_counter() - between)
"""


def imports() -> tuple[float, float]:
    """Median time to import NumPy, and then kvlib, in a fresh interpreter [s]."""
    runs = [
        subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
        for _ in range(REPEATS)
    ]
    pairs = [tuple(map(float, run.stdout.split())) for run in runs]
    numpy, kvlib = (statistics.median(column) for column in zip(*pairs, strict=True))
    return numpy, kvlib


def cards() -> dict[str, float]:
    """Median time to load each card of the catalogue [s]."""
    loads = {"devices": device, "models": model}
    return {
        path.stem: statistics.median(_elapsed(load, path) for _ in range(REPEATS))
        for shelf, load in loads.items()
        for path in catalogue_names(shelf).values()
    }


def _elapsed(load: object, path: Path) -> float:
    start = time.perf_counter()
    load(path)  # type: ignore[operator]
    return time.perf_counter() - start


def main() -> int:
    """Print both, and return whether a limit was exceeded."""
    numpy, kvlib = imports()
    print(f"import numpy        {1e3 * numpy:6.1f} ms")
    print(f"import kvlib        {1e3 * kvlib:6.1f} ms more (limit {1e3 * IMPORT_LIMIT:.0f})")
    times = cards()
    slowest = max(times, key=lambda name: times[name])
    print(f"one card, median    {1e3 * statistics.median(times.values()):6.2f} ms")
    print(f"slowest card        {1e3 * times[slowest]:6.2f} ms, {slowest} (limit 5)")
    print(f"all {len(times)} cards       {1e3 * sum(times.values()):6.0f} ms")
    return int(kvlib > IMPORT_LIMIT or times[slowest] > CARD_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
