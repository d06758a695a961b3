"""Where each piece of a cache should live, and what should work on it there.

A `Case` is a cache in pieces (`kvlib.segments`), a `System` of sites and links, and a schedule.
Rules and the exact `optimum` turn it into a `Placement`; `evaluate` says what a step then takes, by
an account of its own.

>>> from kvlib import device, model
>>> from kvlib.hardware import Link
>>> from kvlib.nearmemory import attacc
>>> from kvlib.segments import Requests, State, pieces
>>> system = System("H100 with AttAcc", sites=(
...     gpu_site(device("h100-sxm-80gb")), bank_level_site(attacc("bank"))),
...     links={("gpu", "pim"): Link(name="nvlink", bandwidth=450e9, latency=1e-6)}, hub="gpu")
>>> state = State([Requests(model("llama-3-8b"), context=[4096] * 64, prefix=2048)])
>>> cache = pieces(state)
>>> case = Case(pieces=cache, system=system,
...             **around(state, cache, device("h100-sxm-80gb"), schedule="barrier"))
>>> for rule in (best_single, nature_blind, rate_stripe, greedy):
...     print(f"{rule.__name__}: {1e3 * evaluate(rule(case)).time:.2f} ms")
best_single: 11.42 ms
nature_blind: 8.84 ms
rate_stripe: 8.19 ms
greedy: 7.99 ms
>>> print(f"optimum: {1e3 * evaluate(optimum(case).placement).time:.2f} ms")
optimum: 7.97 ms
"""

from kvlib.placement._around import around
from kvlib.placement._balance import attention_mass, coolest_near, shared_near, threshold
from kvlib.placement._case import (
    SCHEDULES,
    Case,
    Placement,
    Schedule,
    Shortage,
    SolverStopped,
)
from kvlib.placement._costs import Costs, costs
from kvlib.placement._evaluate import Outcome, evaluate
from kvlib.placement._flexgen import (
    T4,
    FlexGenMachine,
    FlexGenPolicy,
    flexgen_policy,
    flexgen_search,
)
from kvlib.placement._greedy import greedy
from kvlib.placement._migrate import Migration, migration
from kvlib.placement._optimum import Prices, Solution, optimum
from kvlib.placement._rules import (
    best_single,
    flexgen_fractions,
    nature_blind,
    newest_first,
    offloaded,
    per_layer,
    single,
)
from kvlib.placement._sites import (
    bank_level_site,
    drive_level_site,
    gpu_site,
    host_site,
    module_level_site,
)
from kvlib.placement._stripes import affine_stripe, bandwidth_stripe, best_stripe, rate_stripe
from kvlib.placement._system import Option, Site, System
from kvlib.placement._theory import (
    best_time,
    blind_time,
    cut,
    largest_gain,
    roofline_rates,
    stripe_time,
)

__all__ = [
    "SCHEDULES", "T4", "Case", "Costs", "FlexGenMachine", "FlexGenPolicy", "Migration",
    "Option", "Outcome", "Placement", "Prices", "Schedule", "Shortage", "Site", "Solution",
    "SolverStopped", "System", "affine_stripe", "around", "attention_mass", "bandwidth_stripe",
    "bank_level_site", "best_single", "best_stripe", "best_time", "blind_time", "coolest_near",
    "costs", "cut", "drive_level_site", "evaluate", "flexgen_fractions", "flexgen_policy",
    "flexgen_search", "gpu_site", "greedy", "host_site", "largest_gain", "migration",
    "module_level_site", "nature_blind", "newest_first", "offloaded", "optimum", "per_layer",
    "rate_stripe", "roofline_rates", "shared_near", "single", "stripe_time", "threshold",
]  # fmt: skip
