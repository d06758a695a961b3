"""Every rule of the study by what it does, who did it first, and what it takes on a point."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from kvlib.checks import choose
from kvlib.parallel import Parallel
from kvlib.placement import (
    Case,
    Placement,
    Shortage,
    Solution,
    affine_stripe,
    around,
    attention_mass,
    bandwidth_stripe,
    best_single,
    best_stripe,
    coolest_near,
    evaluate,
    flexgen_fractions,
    greedy,
    nature_blind,
    newest_first,
    offloaded,
    optimum,
    per_layer,
    rate_stripe,
    shared_near,
    single,
    threshold,
)
from kvlib.segments import by_tokens, pieces
from kvlib.study._boxes import alone, near
from kvlib.study._points import Point, case
from kvlib.study._served import served

__all__ = ["OVERLAPPED", "PLAIN", "RULES", "against_plain", "times"]

Result = Placement | Shortage
Rule = Callable[[Case], Result]

PLAIN: dict[str, Rule] = {
    "best single site": best_single,
    "one mix for all": nature_blind,
    "stripe by rates": rate_stripe,
    "stripe by rates, best sites": best_stripe,
    "stripe by rates and start-up": affine_stripe,
}
"""Rules that send no piece elsewhere because of its nature."""

_FREE: dict[str, Rule] = {
    "stripe by bandwidth": bandwidth_stripe,
    "one mix a layer kind": per_layer,
    "fastest memory first": flexgen_fractions,
    "greedy": greedy,
}
_BY_TOKENS: dict[str, Rule] = {
    "newest tokens first": newest_first,
    "newest first, evened out": partial(attention_mass, chunk=1 / 32),
}
_NEAR: dict[str, Callable[[Case, str], Result]] = {
    "all near, one batch": offloaded,
    "shared at the GPU": shared_near,
    "above a threshold to the GPU": threshold,
    "hottest to the GPU": coolest_near,
}

OVERLAPPED = "all near, two sub-batches"
"""The rule that is compared with the optimum of its own schedule."""

RULES: dict[str, str] = {
    "GPUs only": "",
    "GPUs only, prefix read by each": "",
    "best single site": "",
    "stripe by bandwidth": "BATMAN",
    "one mix for all": "",
    "one mix a layer kind": "H2M2",
    "stripe by rates": "DAK, BOOST",
    "stripe by rates, best sites": "",
    "stripe by rates and start-up": "",
    "fastest memory first": "FlexGen",
    "newest tokens first": "tiering",
    "newest first, evened out": "PAM",
    "all near, one batch": "AttAcc",
    OVERLAPPED: "NeuPIMs, L3",
    "all near, weights too": "CENT",
    "shared at the GPU": "MoSKA",
    "above a threshold to the GPU": "PAPI",
    "hottest to the GPU": "Duplex, Sieve",
    "greedy": "",
}
"""What each rule does, and whose it is; nobody's where it is only an opponent, or ours."""


def times(point: Point, rules: Iterable[str] | None = None) -> dict[str, float]:
    """Evaluate rules and the optimum on a point: step times [s].

    Parameters
    ----------
    point : Point
        The point.
    rules : iterable of str, optional
        Some of `RULES`; all unless given.

    Returns
    -------
    dict
        Times by rule, infinite where the cache does not fit where the rule puts it, and
        ``optimum``; ``optimum, two sub-batches`` is that of `OVERLAPPED`, if it is asked for.
        Besides ``bound``, what no placement can beat, ``attention``, the part of the optimum's step
        in which attention is waited for, and ``split``, the pieces that the optimum divides.

    Raises
    ------
    ValueError
        If the cache fits in no placement at all: which memory is short, and by how much.

    Examples
    --------
    >>> found = times(Point("llama-2-7b", "AttAcc", "agents"))
    >>> for rule in ("GPUs only", "stripe by rates", "hottest to the GPU"):
    ...     print(f"{rule}: {found[rule] / found['optimum']:.2f}")
    GPUs only: 2.40
    stripe by rates: 1.03
    hottest to the GPU: 1.00
    """
    placed = case(point)
    best = optimum(placed)
    if isinstance(best, Shortage):
        raise ValueError(best.reason)
    outcome = evaluate(best.placement)
    found = {rule: _rule_time(rule, point, placed) for rule in (RULES if rules is None else rules)}
    found |= {
        "optimum": outcome.time, "bound": best.bound, "attention": outcome.attention,
        "split": best.placement.split,
    }  # fmt: skip
    if OVERLAPPED in found:
        hidden = optimum(case(point.replace(schedule="overlapped")))
        found["optimum, two sub-batches"] = (
            _time(hidden.placement) if isinstance(hidden, Solution) else float("inf")
        )
    return found


def against_plain(placed: Case) -> float:
    """Best time of the rules in `PLAIN` over the optimum's.

    Examples
    --------
    >>> round(against_plain(case(Point("llama-3.1-70b", "AttAcc", "chat"))), 3)
    1.0
    """
    best = optimum(placed)
    if isinstance(best, Shortage):
        raise ValueError(best.reason)
    return min(_time(rule(placed)) for rule in PLAIN.values()) / _time(best.placement)


def _time(result: Result) -> float:
    return evaluate(result).time if isinstance(result, Placement) else float("inf")


def _rule_time(rule: str, point: Point, placed: Case) -> float:
    """Time of one rule [s]; near rules with their best site."""
    choose(rule, RULES, "rule")
    if rule in PLAIN:
        return _time(PLAIN[rule](placed))
    if rule in _FREE:
        return _time(_FREE[rule](placed))
    if rule in _BY_TOKENS:
        fine = by_tokens(placed.pieces, sinks=4, recent=1024)
        return _time(_BY_TOKENS[rule](placed.replace(pieces=fine)))
    if rule in _NEAR:
        return min(_time(_NEAR[rule](placed, site)) for site in near(placed.system))
    if rule == OVERLAPPED:
        both = case(point.replace(schedule="overlapped"))
        return min(_time(offloaded(both, site)) for site in near(both.system))
    if rule == "all near, weights too":
        return min(_hubs(point, placed))
    plain = alone(placed.system)
    if rule == "GPUs only":
        return _time(single(placed.replace(system=plain), "gpu"))
    return _time(single(case(point, system=plain, deduplicated=False), "gpu"))


def _hubs(point: Point, placed: Case) -> list[float]:
    """Times if a near site holds the weights as well, and no GPU works: by its roofline [s]."""
    state = served(point.model, point.workload, point.many)
    cache, found = pieces(state), [float("inf")]
    for site in near(placed.system):
        if placed.system[site].beside is not None:
            continue
        turned = placed.system.replace(hub=site)
        rest: dict[str, Any] = around(
            state, cache, turned[site], schedule="barrier",
            parallel=Parallel(tensor=point.gpus), weight_precision="fp8",
        )  # fmt: skip
        found.append(_time(offloaded(Case(pieces=cache, system=turned, **rest), site)))
    return found
