"""The study of chapter 17: every rule on every box, what a box brings, and what it is worth.

A `Point` names a model, a box and a workload; `case` puts it together, `times` evaluates every rule
on it, `sweep` does so for many points in parallel.

>>> found = sweep(times, grid(["llama-2-7b"], ["CENT"], ["chat", "speculation"]))
>>> [round(each["stripe by rates"] / each["optimum"], 3) for each in found]
[1.004, 1.113]
"""

from kvlib.study._axes import AXES, ablation
from kvlib.study._bends import tornado
from kvlib.study._boxes import ASSUMED, BOXES, WHAT_IFS, alone, box, near, storing
from kvlib.study._effects import EFFECTS, effects, largest_batch, tokens_per_second
from kvlib.study._energy import crossover, energies, frugal, with_energies
from kvlib.study._equal import (
    BreakEven,
    as_many_gpus,
    break_even,
    capacity_ratio,
    power_ratio,
    price_ratio,
)
from kvlib.study._growth import Growth, grown
from kvlib.study._opponents import OVERLAPPED, PLAIN, RULES, against_plain, times
from kvlib.study._points import Point, case, filled, grid, sweep
from kvlib.study._served import MODELS, OTHER_WORKLOADS, WORKLOADS, fewest_gpus, served
from kvlib.study._sharing import Sharing, count_readers, sharing, splitting_gain

__all__ = [
    "ASSUMED", "AXES", "BOXES", "EFFECTS", "MODELS", "OTHER_WORKLOADS", "OVERLAPPED", "PLAIN",
    "RULES", "WHAT_IFS", "WORKLOADS", "BreakEven", "Growth", "Point", "Sharing", "ablation",
    "against_plain", "alone", "as_many_gpus", "box", "break_even", "capacity_ratio", "case",
    "count_readers", "crossover", "effects", "energies", "fewest_gpus", "filled", "frugal", "grid",
    "grown", "largest_batch", "near", "power_ratio", "price_ratio", "served", "sharing",
    "splitting_gain", "storing", "sweep", "times", "tokens_per_second", "tornado", "with_energies",
]  # fmt: skip
