"""Does splitting a cache by nature pay, on a wide grid?  ``python benchmarks/placement_study.py``.

Eight models, nine boxes, eight workloads, two schedules and two fillings of the GPUs' memory: every
rule of `kvlib.study` against the exact optimum, in all processes the machine has. The chapters show
a part of this grid. With a path as argument, rows go there as JSON.
"""

import json
import os
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from kvlib.study import (
    BOXES,
    MODELS,
    OTHER_WORKLOADS,
    OVERLAPPED,
    PLAIN,
    RULES,
    WHAT_IFS,
    WORKLOADS,
    Point,
    filled,
    grid,
    sweep,
    times,
)

SERVED = (*MODELS, "deepseek-v2-lite", "llama-3-8b + deepseek-v2-lite")
FILLINGS = {"fits": 0.9, "over": 1.5}


def points() -> Iterator[tuple[str, Point]]:
    """Every point, with the name of its filling."""
    every = grid(SERVED, (*BOXES, *WHAT_IFS), (*WORKLOADS, *OTHER_WORKLOADS))
    for filling, schedule, point in product(FILLINGS, ("barrier", "overlapped"), every):
        yield filling, point.replace(schedule=schedule)


def row(point: tuple[str, Point]) -> dict[str, Any]:
    """Times of all rules, or what is short."""
    filling, one = point
    full = filled(one, FILLINGS[filling])
    try:
        return {**vars(full), "filling": filling, "times": times(full)}
    except ValueError as short:
        return {**vars(full), "filling": filling, "short": str(short)}


def report(rows: list[dict[str, Any]]) -> None:
    """Print how much the optimum gains over each rule."""
    for filling, schedule in product(FILLINGS, ("barrier", "overlapped")):
        of = [r for r in rows if (r["filling"], r["schedule"]) == (filling, schedule)]
        fits = [r["times"] for r in of if "times" in r]
        print(f"\n{filling}, {schedule}: {len(fits)} points, {len(of) - len(fits)} do not fit")
        gains = {
            rule: np.array([
                t[rule] / t["optimum, two sub-batches" if rule == OVERLAPPED else "optimum"]
                for t in fits
            ])
            for rule in RULES
        }  # fmt: skip
        gains["best plain rule"] = np.min([gains[rule] for rule in PLAIN], axis=0)
        for rule, gain in gains.items():
            median, most = np.quantile(gain, [0.5, 0.9], method="nearest")
            spread = f"{rule:32} {median:7.3f} {most:7.3f} {gain.max():7.3f}"
            small, never = np.mean(gain < 1.01), np.sum(np.isinf(gain))
            print(f"{spread}   below 1 %: {small:4.0%}   does not fit: {never}")


def main() -> None:
    """Run the grid, print a summary, and write the rows if a path is given."""
    rows = sweep(row, points(), processes=os.cpu_count() or 1, progress=True)
    report(rows)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(rows, default=float))


if __name__ == "__main__":
    main()
