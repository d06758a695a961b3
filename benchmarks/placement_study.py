"""Does splitting a cache by nature pay?  ``python benchmarks/placement_study.py [OUT] [TRACES]``.

Models x systems x workloads x schedules: gain of the exact optimum over every published rule, what
each axis of splitting adds, how the verdict moves with each assumed constant, and the sharing that
real traces have. All times are recomputed by `evaluate`. Rows go to OUT as JSON.

What is assumed, and not measured or quoted, is `ASSUMED` below: the tornado moves each of these.
"""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erfinv

from kvlib import device, model
from kvlib.footprint import weight_bytes
from kvlib.hardware import Link
from kvlib.nearmemory import MemoryModule, attacc, cxl_pnm
from kvlib.parallel import Parallel
from kvlib.placement import (
    Case,
    Placement,
    Site,
    System,
    around,
    attention_mass,
    bandwidth_stripe,
    bank_level_site,
    best_single,
    best_stripe,
    coolest_near,
    evaluate,
    flexgen_fractions,
    gpu_site,
    greedy,
    host_site,
    largest_gain,
    module_level_site,
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
from kvlib.segments import Prefix, Requests, Sparse, State, by_part, by_tokens, pieces
from kvlib.units import GB, TB, TFLOP, s, us

ASSUMED = {
    "dispatch": 6 * us,  # two kernels a layer that send queries and take results: elementwise floor
    "sustained": 0.8,  # part of their datasheet that module processors and hosts reach
    "cxl_peak": 8.2 * TFLOP / s,  # of CXL-PNM: recalled, not found in its source
    "dimm_ridge": 4.0,  # flop/B of a processor on a DIMM
    "logic_bandwidth": 4.0,  # of a logic-die PIM, times its stack's external bandwidth
    "logic_ridge": 8.0,  # its flop/B, in the range that Duplex says it covers
    "pim_bandwidth": 1.0, "pim_peak": 1.0, "hub_bandwidth": 1.0, "hub_peak": 1.0,  # factors
    "link_bandwidth": 1.0, "link_latency": 1.0, "hub_floor": 1.0, "dense": 1.0,
    "capacity": 1.0, "lifetime": 1.0,
}  # fmt: skip
MODELS = ("llama-2-7b", "llama-3-8b", "llama-3.1-70b", "gemma-3-27b", "mixtral-8x7b",
          "deepseek-v2-lite", "deepseek-v2", "llama-3-8b + deepseek-v2-lite")  # fmt: skip
SYSTEMS = ("attacc", "logic-die", "own-stack dual", "own-stack single", "cxl-pnm", "dimm-ndp",
           "gh200", "six sites")  # fmt: skip
WORKLOADS = ("chat", "documents", "agents", "agents 8 groups", "speculative", "mixed verifying",
             "idle sessions", "sparse documents")  # fmt: skip
NEAR = {"attacc": "pim", "logic-die": "pim", "own-stack dual": "pim", "own-stack single": "pim",
        "cxl-pnm": "cxl", "dimm-ndp": "dimm", "six sites": "pim"}  # fmt: skip


def system(name: str, gpus: int, a: dict[str, float]) -> System:
    """One of the systems, for that many GPUs."""
    card = device("gh200-144gb" if name == "gh200" else "h100-sxm-80gb")
    hub = gpu_site(card, count=gpus)
    hub = hub.replace(bandwidth=hub.bandwidth * a["hub_bandwidth"], peak=hub.peak * a["hub_peak"],
                      latency=hub.latency * a["hub_floor"])  # fmt: skip

    def link(rate: float, latency: float) -> Link:
        return Link(name="link", bandwidth=gpus * rate * a["link_bandwidth"],
                    latency=latency * a["link_latency"])  # fmt: skip

    def tuned(site: Site) -> Site:
        return site.replace(
            bandwidth=site.bandwidth * a["pim_bandwidth"], capacity=site.capacity * a["capacity"],
            peak=site.peak * a["pim_peak"] * (a["pim_bandwidth"] if site.peak else 1.0),
        )  # fmt: skip

    nvlink, pcie = link(450 * GB / s, 1 * us), link(63 * GB / s, 0.25 * us)
    units = bank_level_site(attacc("bank"), count=gpus, latency=a["dispatch"])
    sides: list[tuple[Site, Link | None]]
    if name == "attacc":
        sides = [(units, nvlink)]
    elif name == "logic-die":
        external = float(device("attacc-bank").memory("external").bandwidth)
        rate = gpus * a["logic_bandwidth"] * external
        sides = [(Site(name="pim", bandwidth=rate, peak=rate * a["logic_ridge"],
                       capacity=units.capacity, latency=a["dispatch"]), nvlink)]  # fmt: skip
    elif name.startswith("own-stack"):
        inside = units.replace(capacity=0.0, beside="gpu", dual_row_buffers=name.endswith("dual"))
        sides = [(inside, None)]
    elif name == "gh200":
        sides = [(Site(name="lpddr", bandwidth=gpus * a["sustained"] * 512 * GB / s, peak=0.0,
                       capacity=gpus * 480 * GB), link(450 * GB / s, 1 * us))]  # fmt: skip
    else:
        modules = cxl_pnm({"fp16": a["cxl_peak"]})
        cxl = module_level_site(modules, sustained=a["sustained"], count=2 * gpus,
                                latency=a["dispatch"], name="cxl")  # fmt: skip
        ranks = 8 * 4 * float(device("ddr5-4800-channel").memory().bandwidth)
        dimms = MemoryModule(
            name="DIMM NDP", bandwidth=ranks, link=63 * GB / s, capacity=16 * 64 * GB,
            operations=("attention",), peak={"fp16": a["dimm_ridge"] * ranks},
        )  # fmt: skip
        dimm = module_level_site(dimms, sustained=a["sustained"], count=gpus,
                                 latency=a["dispatch"], name="dimm")  # fmt: skip
        host = host_site(device("xeon-8480plus"), sustained=a["sustained"], precision="fp16",
                         latency=a["dispatch"])  # fmt: skip
        ssd = Site(name="ssd", bandwidth=4 * 19.2 * GB / s, peak=0.0, capacity=32 * TB)
        drives = link(4 * 7.88 * GB / s / gpus, 10 * us)
        every = {"cxl": (cxl, pcie), "dimm": (dimm, pcie), "host": (host, pcie)}
        chosen = {"cxl-pnm": ["cxl"], "dimm-ndp": ["dimm"]}.get(name, list(every))
        sides = [every[each] for each in chosen]
        if name == "six sites":
            sides = [(units, nvlink), *sides, (ssd, drives)]
    links = {("gpu", site.name): wire for site, wire in sides if wire is not None}
    return System(name, (hub, *(tuned(site) for site, _ in sides)), links, "gpu")


def lengths(median: float, p90: float, count: int, seed: int = 0) -> Any:
    """Lengths with a median and 90th percentile, log-normal, the same for every call."""
    spread = np.log(p90 / median) / 1.2816
    quantiles = (np.random.default_rng(seed).permutation(count) + 0.5) / count
    normal = np.sqrt(2) * erfinv(2 * quantiles - 1)
    return np.maximum(median * np.exp(spread * normal), 16).astype(int)


def serve(name: str, workload: str, batch: int, a: dict[str, float]) -> State:
    """Build `batch` requests with the percentiles of the traces and lifetimes of their outputs."""
    served = [model(each) for each in name.split(" + ")]
    each = max(batch // len(served), 1)
    groups: list[Requests] = []
    for one in served:
        life = {"chat": 211, "documents": 343, "agents": 182, "agents 8 groups": 182,
                "speculative": 211, "mixed verifying": 211, "idle sessions": 211,
                "sparse documents": 343}[workload] * a["lifetime"]  # fmt: skip
        chat = lengths(1020 + 105, 2734, each)
        documents = lengths(6909 + 170, 27367, each)
        if workload == "chat":
            groups.append(Requests(one, chat, lifetime=life))
        elif workload == "documents":
            groups.append(Requests(one, documents, lifetime=life))
        elif workload == "agents":
            own = lengths(1500, 4000, each)
            groups.append(Requests(one, own + 8192, prefix=8192, lifetime=life))
        elif workload == "agents 8 groups":
            own = lengths(1500, 4000, each)
            parts = [part for part in np.array_split(own, 8) if part.size]
            groups += [Requests(one, part + 8192, prefix=8192, lifetime=life) for part in parts]
        elif workload == "speculative":
            groups.append(Requests(one, chat + 3, query_tokens=4, accepted=2.0, lifetime=life / 2))
        elif workload == "mixed verifying":
            half = max(each // 2, 1)
            groups += [
                Requests(one, chat[:half], lifetime=life),
                Requests(one, chat[-half:] + 7, query_tokens=8, accepted=2.2, lifetime=life / 2.2),
            ]
        elif workload == "idle sessions":
            groups += [Requests(one, chat, lifetime=life),
                       Requests(one, lengths(4000, 12000, each), active=False)]  # fmt: skip
        else:
            groups.append(Requests(one, documents, lifetime=life, sparse=Sparse(4, 1024, 0.1)))
    return State(groups)


def gpus_for(name: str) -> tuple[int, str]:
    """GPUs that hold the weights in 60 % of their memory, and the format of the weights."""
    served = [model(each) for each in name.split(" + ")]
    precision = "fp8" if name == "deepseek-v2" else "bf16"
    for count in (1, 2, 4, 8):
        held = sum(float(weight_bytes(one, weight_precision=precision)) for one in served)
        if held <= 0.6 * count * 72 * GB:
            return count, precision
    raise ValueError(f"{name!r} needs more than 8 GPUs.")


@dataclass(frozen=True)
class Point:
    """One combination."""

    model: str
    system: str
    workload: str
    schedule: str
    regime: str


def build(point: Point, a: dict[str, float], *, fine: bool = False) -> tuple[Case, State, int]:
    """Find the batch of the regime, and put the case together."""
    gpus, precision = gpus_for(point.model)
    there = system(point.system, gpus, a)
    parallel = Parallel(tensor=gpus)
    factor = {"fits": 0.9, "large": 3.0}[point.regime]

    def case(batch: int) -> tuple[Case, State]:
        state = serve(point.model, point.workload, batch, a)
        cache = pieces(state)
        if fine:
            cache = by_part(by_tokens(cache, sinks=4, recent=1024))
        rest = around(state, cache, device("h100-sxm-80gb"), schedule=point.schedule,  # type: ignore[arg-type]
                      parallel=parallel, precision=precision)  # fmt: skip
        rest["dense"] = rest["dense"] * a["dense"]
        return Case(pieces=cache, system=there, **rest), state

    reference = system("attacc", gpus, ASSUMED)  # the batch does not depend on what is assumed
    weights = case(2)[0].weights
    room = (reference["gpu"].capacity - weights) * factor
    batch = 2
    while batch < 4096:
        held = pieces(serve(point.model, point.workload, 2 * batch, ASSUMED)).bytes.sum()
        if held > room:
            break
        batch *= 2
    return *case(batch), batch


def rules(case: Case, near: str | None) -> Iterator[tuple[str, Any]]:
    """Every rule by name, with what it returns."""
    yield "best single site", best_single(case)
    yield "GPU alone", single(case, case.system.hub)
    yield "bandwidth stripe", bandwidth_stripe(case)
    yield "rate stripe", rate_stripe(case)
    yield "best rate stripe", best_stripe(case)
    yield "nature-blind optimum", nature_blind(case)
    yield "per layer (H2M2)", per_layer(case)
    yield "FlexGen fractions", flexgen_fractions(case)
    yield "newest first", newest_first(case)
    yield "attention mass (PAM)", attention_mass(case, chunk=1 / 32)
    if near is not None:
        fixed = "NeuPIMs" if case.schedule == "overlapped" else "AttAcc"
        if near == "dimm":
            fixed = "L3"
        yield f"all near ({fixed})", offloaded(case, near)
        yield "coolest near (Duplex, Sieve)", coolest_near(case, near)
        yield "threshold (PAPI)", threshold(case, near)
        yield "two classes (MoSKA)", shared_near(case, near)
    yield "greedy (ours)", greedy(case)


def run(point: Point, a: dict[str, float] = ASSUMED) -> dict[str, Any]:
    """Times of all rules and of the optimum on one point [s], by the independent evaluation."""
    case, state, batch = build(point, a)
    found = optimum(case)
    row: dict[str, Any] = {**vars(point), "batch": batch}
    if not found:
        return row | {"shortage": found.reason}
    outcome = evaluate(found.placement)
    assert abs(outcome.time - found.time) <= 1e-6 * found.time
    assert found.gap < 1e-4
    times = {}
    for name, placement in rules(case, NEAR.get(point.system)):
        times[name] = evaluate(placement).time if isinstance(placement, Placement) else None
        assert times[name] is None or times[name] >= outcome.time * (1 - 1e-6), name
    plain = case.replace(pieces=pieces(state, deduplicated=False))
    alone = single(plain, "gpu")
    times["GPU without deduplication"] = (
        evaluate(alone).time if isinstance(alone, Placement) else None
    )
    near = NEAR.get(point.system)
    if near and case.system[near].beside is None and near != "six":
        turned = case.system.replace(hub=near)
        cent = Case(pieces=case.pieces, system=turned,
                    **around(state, case.pieces, turned[near], schedule="barrier"))  # fmt: skip
        gpu_free = offloaded(cent, near)
        times["GPU-free (CENT)"] = (
            evaluate(gpu_free).time if isinstance(gpu_free, Placement) else None
        )
    streamed = optimum(case, options=[str(o) for o in case.system.options if o.executor == "gpu"])
    times["optimum without near processors"] = (
        evaluate(streamed.placement).time if streamed else None
    )
    if point.system in ("attacc", "logic-die"):
        times["iso-capacity GPUs"] = twice_the_gpus(point, state)
    active = case.pieces.touched > 0
    able = [site for site in case.system.sites if site.peak]
    rates = np.array([site.rate(case.pieces.reuse[active]) for site in able]).T
    return row | {
        "optimum": outcome.time, "attention": outcome.attention,
        "dense": float(case.dense.sum() + case.outside), "times": times,
        "split": found.placement.split, "pieces": len(case.pieces),
        "largest": largest_gain(rates), "tokens": case.tokens,
        "reuse": case.pieces.reuse.tolist(), "bytes": case.pieces.bytes.tolist(),
        "held": outcome.held, "blame": found.prices.share_of_time,
    }  # fmt: skip


def twice_the_gpus(point: Point, state: State) -> float | None:
    """Time with the memory of the near units spent on as many GPUs again [s]."""
    gpus, precision = gpus_for(point.model)
    hub = gpu_site(device("h100-sxm-80gb"), count=2 * gpus)
    cache = pieces(state)
    rest = around(state, cache, device("h100-sxm-80gb"), schedule="barrier",
                  parallel=Parallel(tensor=2 * gpus), precision=precision)  # fmt: skip
    placed = single(Case(pieces=cache, system=System("gpus", (hub,), {}, "gpu"), **rest), "gpu")
    return evaluate(placed).time if isinstance(placed, Placement) else None


def ablate(point: Point) -> dict[str, Any]:
    """Times of optima that may distinguish some axes only, on the finest pieces [s]."""
    case, _, _ = build(point, ASSUMED, fine=True)
    case = case.replace(startup=False)
    axes = ("stage", "sharers", "query_tokens", "active", "tokens", "part")
    found = {"none": optimum(case, distinguish=()), "all": optimum(case)}
    found |= {axis: optimum(case, distinguish=(axis,)) for axis in axes}
    found |= {f"all but {axis}": optimum(case, distinguish=tuple(x for x in axes if x != axis))
              for axis in axes}  # fmt: skip
    if not all(found.values()):
        return {**vars(point), "shortage": True}
    return {**vars(point), "times": {name: evaluate(f.placement).time for name, f in found.items()}}


def multiplicities(
    trace: Path, token_time: float, *, turns: bool, moments: int = 24
) -> list[dict[int, float]]:
    """Tokens by concurrent readers, and requests, at moments of a trace of 512-token blocks.

    With `turns`, a request that extends an earlier one, beyond two blocks, is taken as the next
    turn of its conversation: the earlier one must have ended. Two users of one document would look
    the same, so this bounds the sharing from below, and leaving it out bounds it from above.
    """
    requests = [json.loads(line) for line in trace.read_text().splitlines()]
    start = np.array([r["timestamp"] / 1e3 for r in requests])
    end = start + np.array([r["output_length"] for r in requests]) * token_time
    if turns:  # a block's number stands for all blocks before it too
        waiting: dict[int, list[int]] = {}
        for i, request in enumerate(requests):
            blocks = request["hash_ids"]
            for block in blocks:
                for earlier in waiting.pop(block, []):
                    end[earlier] = min(end[earlier], start[i])
            if len(blocks) > 3:
                waiting.setdefault(blocks[-2], []).append(i)
    found = []
    for moment in np.linspace(np.quantile(start, 0.2), np.quantile(start, 0.95), moments):
        active = np.flatnonzero((start <= moment) & (moment < end))
        readers: dict[int, int] = {}
        tokens: dict[int, int] = {}
        own = 0.0
        for i in active:
            left = requests[i]["input_length"]
            for block in requests[i]["hash_ids"]:
                readers[block] = readers.get(block, 0) + 1
                tokens[block] = min(512, left)
                left -= tokens[block]
            own += (moment - start[i]) / token_time  # generated so far
        histogram: dict[int, float] = {0: float(len(active)), 1: own}
        for block, count in readers.items():
            histogram[count] = histogram.get(count, 0.0) + tokens[block]
        found.append(histogram)
    return found


def shared(histogram: dict[int, float], name: str, output: float) -> State:
    """A state with the sharing of a moment."""
    one, count = model(name), int(histogram[0])
    each = np.full(count, max(int(histogram[1] / count), 1))
    groups: list[Requests | Prefix] = [Requests(one, each, lifetime=output)]
    groups += [
        Prefix(one, tokens, sharers=n, readers=min(n * max(tokens / 4096, 1.0), count),
               lifetime=output)
        for n, tokens in histogram.items() if n > 1
    ]  # fmt: skip
    return State(groups)


def trace_rows(traces: Path) -> Iterator[dict[str, Any]]:
    """Concurrent reads, and what splitting gains, on the sharing of real traces."""
    names, times = ("conversation", "synthetic"), (0.03, 0.3, 1.0)
    for name, token_time, turns in product(names, times, (False, True)):
        trace = traces / f"mooncake_{name}.jsonl"
        if not trace.exists():
            continue
        for served, kind in product(("llama-2-7b", "llama-3.1-70b"), ("attacc", "logic-die")):
            gains, reads, count = [], [], []
            for histogram in multiplicities(trace, token_time, turns=turns):
                if histogram[0] < 2:
                    continue
                state = shared(histogram, served, 343.0)
                cache = pieces(state)
                here = system(kind, 1, ASSUMED)
                for site in here.sites:  # as many GPUs and units as hold it
                    here = here.change(site.name, capacity=1e18)
                case = Case(pieces=cache, system=here, startup=False)
                stripe, best = best_stripe(case), optimum(case)
                assert best
                assert isinstance(stripe, Placement)
                gains.append(evaluate(stripe).time / evaluate(best.placement).time)
                unique = sum(t for n, t in histogram.items() if n > 0)
                reads.append(sum(n * t for n, t in histogram.items()) / unique)
                count.append(histogram[0])
            yield {
                "trace": name, "token_time": token_time, "turns": turns,
                "model": served, "system": kind,
                "active": float(np.mean(count)), "reads": float(np.mean(reads)),
                "gain mean": float(np.mean(gains)), "gain max": float(np.max(gains)),
            }  # fmt: skip


def tornado(points: list[Point]) -> Iterator[dict[str, Any]]:
    """Gains over the best rate stripe, the GPU alone and the greedy, constant by constant."""
    for name, factor in [("none", 1.0), *product(ASSUMED, (0.7, 1.3))]:
        a = ASSUMED | ({name: ASSUMED[name] * factor} if name != "none" else {})
        a["sustained"] = min(a["sustained"], 1.0)
        gains = []
        for point in points:
            case, _, _ = build(point, a)
            best = optimum(case)
            assert best
            time = evaluate(best.placement).time
            rivals = best_stripe(case), single(case, "gpu"), greedy(case)
            gains.append([evaluate(r).time / time if isinstance(r, Placement) else None
                          for r in rivals])  # fmt: skip
        yield {"constant": name, "factor": factor, "gains": gains}


def grid(part: str) -> list[Point]:
    """Return the points of a part of the study."""
    schedules, regimes = ("barrier", "overlapped"), ("fits", "large")
    models, systems, workloads = MODELS, SYSTEMS, WORKLOADS
    if part != "points":
        systems = ("attacc", "logic-die", "cxl-pnm")
    if part == "ablation":
        schedules = ("barrier", "pipelined")
        models = ("llama-3-8b", "gemma-3-27b", "deepseek-v2-lite", "llama-3-8b + deepseek-v2-lite")
        workloads = ("chat", "agents", "mixed verifying", "idle sessions", "sparse documents")
    if part == "tornado":
        schedules, regimes = ("barrier",), ("fits",)
        models = ("llama-2-7b", "llama-3-8b", "llama-3.1-70b", "deepseek-v2-lite")
        workloads = ("chat", "agents", "mixed verifying")
    every = product(models, systems, workloads, schedules, regimes)
    return [Point(*each) for each in every]


def main() -> None:
    """Run the parts that are named, all unless given, and write their rows."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "placement_study.json")
    traces = Path(sys.argv[2] if len(sys.argv) > 2 else "../shared/traces")
    found = json.loads(out.read_text()) if out.exists() else {}
    for part in sys.argv[3:] or ("points", "ablation", "tornado", "traces"):
        rows: list[dict[str, Any]] = []
        with ProcessPoolExecutor(2) as pool:
            if part == "points":
                source: Iterator[dict[str, Any]] = pool.map(run, grid(part), chunksize=8)
            elif part == "ablation":
                source = pool.map(ablate, grid(part), chunksize=8)
            else:
                source = tornado(grid(part)) if part == "tornado" else trace_rows(traces)
            for row in source:
                rows.append(row)
                print(f"\r{part}: {len(rows)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        found[part] = rows
        out.write_text(json.dumps(found, default=float))


if __name__ == "__main__":
    main()
