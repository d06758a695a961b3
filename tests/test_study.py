"""The study of chapters 17 and 17a: whole, recomputed apart from the solver, and in parallel."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kvlib.checks import UnknownName
from kvlib.placement import Placement, evaluate, nature_blind, optimum, single
from kvlib.study import (
    ASSUMED,
    AXES,
    BOXES,
    EFFECTS,
    MODELS,
    OTHER_WORKLOADS,
    OVERLAPPED,
    RULES,
    WHAT_IFS,
    WORKLOADS,
    Point,
    ablation,
    against_plain,
    alone,
    as_many_gpus,
    box,
    break_even,
    capacity_ratio,
    case,
    count_readers,
    crossover,
    effects,
    energies,
    fewest_gpus,
    filled,
    frugal,
    grid,
    grown,
    largest_batch,
    near,
    power_ratio,
    price_ratio,
    served,
    sharing,
    splitting_gain,
    storing,
    sweep,
    times,
    tornado,
    with_energies,
)

TRACES = Path(__file__).parents[2] / "shared" / "traces"
BY_TOKENS = {"newest tokens first", "newest first, evened out"}
WEIGHTS_TOO = "all near, weights too"


@pytest.mark.parametrize("name", [*BOXES, *WHAT_IFS])
def test_every_box_has_gpus_as_hub_and_something_beside_in_proportion(name):
    small, large = box(name, gpus=1), box(name, gpus=8)
    assert small.hub == "gpu"
    assert near(small)
    for one, eight in zip(small.sites, large.sites, strict=True):
        assert_allclose(eight.bandwidth, 8 * one.bandwidth)
        assert_allclose(eight.capacity, 8 * one.capacity)
        assert_allclose(eight.peak, 8 * one.peak)
    assert {option.executor for option in storing(large).options} == {"gpu"}
    assert [site.name for site in alone(large).sites] == ["gpu"]


@pytest.mark.parametrize("workload", [*WORKLOADS, *OTHER_WORKLOADS])
@pytest.mark.parametrize("many", [1, 7, 64])
def test_every_state_serves_as_many_as_asked(workload, many):
    for name in (*MODELS[:2], "llama-3-8b + deepseek-v2-lite"):
        if many > 1 or "+" not in name:
            assert sum(group.count for group in served(name, workload, many).active) == many


def test_a_point_fills_the_gpus_as_asked():
    for point in grid(MODELS, ["AttAcc"], ["agents"]):
        placed = case(filled(point, 0.9))
        assert placed.pieces.bytes.sum() == pytest.approx(0.9 * placed.room("gpu"), rel=0.05)
        assert placed.pieces.bytes.sum() <= placed.room("gpu")


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("workload", ["agents", "speculation"])
def test_no_rule_beats_the_optimum_and_the_optimum_not_its_bound(name, workload):
    (point,) = grid(["llama-2-7b"], [name], [workload])
    found = times(filled(point, 0.9))
    assert found["bound"] <= found["optimum"] * (1 + 1e-9)
    for rule in set(RULES) - {OVERLAPPED, WEIGHTS_TOO} - BY_TOKENS:
        assert found[rule] >= found["optimum"] * (1 - 1e-6), rule
    assert found[OVERLAPPED] >= found["optimum, two sub-batches"] * (1 - 1e-6)
    for rule in BY_TOKENS:  # they place finer pieces, which the optimum here does not
        assert found[rule] >= found["optimum"] * 0.999, rule


def test_rules_can_be_chosen():
    point = Point("llama-2-7b", "AttAcc", "agents")
    found, every = times(point, ["greedy"]), times(point)
    assert set(found) == {"greedy", "optimum", "bound", "attention", "split"}
    assert all(found[name] == every[name] for name in found)
    with pytest.raises(UnknownName, match="rule"):
        times(point, ["greed"])


def test_a_model_above_the_ridge_gains_nothing_over_one_mix():
    step = case(Point("deepseek-v3", "AttAcc", "agents"))
    mix, best = nature_blind(step), optimum(step)
    assert mix
    assert best
    assert evaluate(mix).time / evaluate(best.placement).time == pytest.approx(1, abs=5e-4)


def test_what_does_not_fit_is_refused_with_what_is_short():
    point = Point("llama-3.1-70b", "NeuPIMs", "long document", many=1024)
    for function in (times, lambda p: against_plain(case(p)), break_even, ablation):
        with pytest.raises(ValueError, match=r"short|not served"):
            function(point)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: box("GPU"), UnknownName, "box 'GPU'"),
        (lambda: box("host", assumed={"peak": 1.0}), UnknownName, "assumed constant 'peak'"),
        (lambda: served("llama-2-7b", "talk"), UnknownName, "workload 'talk'"),
        (lambda: served("llama-2-7b", "chat", 0), ValueError, "many = 0"),
        (lambda: sweep(abs, [1], processes=0), ValueError, "processes = 0"),
        (lambda: filled(Point("llama-2-7b", "host", "chat"), -1.0), ValueError, "part"),
        (lambda: effects(Point("llama-3.1-70b", "host", "chat", gpus=1), 1e-4), ValueError,
         "raise the limit"),
        (lambda: energies(case(Point("llama-2-7b", "CENT", "chat"))), ValueError, "every energy"),
        (lambda: frugal(case(Point("llama-2-7b", "host", "chat"))), ValueError, "every energy"),
        (lambda: crossover(box("host"), "host"), ValueError, "states no energy"),
        (lambda: fewest_gpus("deepseek-v3 + llama-3.1-405b"), ValueError, "more than 8"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused(build, error, message):
    with pytest.raises(error, match=message):
        build()


# ---- what a box brings ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AttAcc", "NeuPIMs", "CXL-PNM"])
def test_the_effects_multiply_up_and_none_is_a_loss(name):
    (point,) = grid(["llama-2-7b"], [name], ["agents"])
    found = effects(point)
    assert_allclose(np.prod([found[each] for each in EFFECTS]), found["all"])
    assert all(found[each] >= 1 - 1e-6 for each in EFFECTS)
    if name == "NeuPIMs":
        assert found["stream"] == found["capacity"] == 1
    assert found["box's batch"] >= found["GPUs' batch"]


def test_the_largest_batch_is_the_largest():
    point = Point("llama-3.1-70b", "AttAcc", "chat", gpus=1)
    many = largest_batch(point, 50e-3)

    def seconds(batch):
        placed = case(point.replace(many=batch))
        found = single(placed.replace(system=alone(placed.system)), "gpu")
        return evaluate(found).time if isinstance(found, Placement) else np.inf

    assert seconds(many) <= 50e-3 < seconds(many + 1)


def test_break_even_is_where_more_gpus_are_as_good():
    point = filled(Point("llama-3.1-70b", "AttAcc", "chat", gpus=1), 0.9)
    found = break_even(point)
    assert as_many_gpus(point, found.nodes) == pytest.approx(found.tokens, rel=0.03)
    assert as_many_gpus(point, 1.1 * found.nodes) > found.tokens
    assert as_many_gpus(point, max(0.9 * found.nodes, 1)) < found.tokens
    assert found.worth == found.nodes - 1 > 0


def test_ratios_of_boxes_are_above_one_or_unknown():
    assert all(capacity_ratio(name) >= 1 for name in BOXES)
    for ratio in (power_ratio, price_ratio):
        stated = [found for name in BOXES if (found := ratio(name)) is not None]
        assert stated
        assert all(1 < found < 1.5 and found.source for found in stated)


def test_a_constant_that_is_not_in_a_box_moves_nothing():
    points = [Point("llama-2-7b", name, "speculation", gpus=1) for name in ("CENT", "CXL-PNM")]
    found = tornado(points)
    assert len(found) == 1 + 2 * len(ASSUMED)
    base = found["none", 1.0]
    assert found["DIMM ridge", 0.7] == base
    assert found["CXL-PNM peak", 0.7][0] == base[0]
    bent = case(points[1], assumed={"near peak": 0.7})
    assert found["near peak", 0.7][1] == against_plain(bent)
    assert found["near peak", 0.7] != base


def test_axes_add_nothing_alone_that_all_do_not():
    found = ablation(Point("llama-2-7b", "AttAcc", "agents"))
    for axis in AXES:
        assert 1 - 1e-6 <= found[axis] <= found["all"] * (1 + 1e-6)
        assert found[f"all but {axis}"] <= found["all"] * (1 + 1e-6)


def test_least_energy_takes_the_least():
    (point,) = grid(["llama-3.1-70b"], ["AttAcc"], ["agents"])
    placed = case(filled(point, 0.6))
    placed = placed.replace(system=with_energies(placed.system))
    found = energies(placed)
    assert min(joules for _, joules in found.values()) == found["least energy"][1]
    assert min(seconds for seconds, _ in found.values()) == found["shortest step"][0]


def test_growth_is_no_gain():
    found = grown(Point("llama-2-7b", "AttAcc", "agents"), 16)
    assert found.kept >= 1 - 1e-9
    assert found.moved >= 0
    assert grown(Point("llama-3.1-70b", "AttAcc", "speculation"), 1).kept >= 1 - 1e-9


# ---- many points ------------------------------------------------------------------------------


def test_a_sweep_in_parallel_gives_the_same_in_the_same_order(capsys):
    points = grid(["llama-3.1-70b"], BOXES, ["chat"])
    serial = sweep(_quick, points)
    assert sweep(_quick, points, processes=2, progress=True) == serial
    assert f"{len(points)}/{len(points)}" in capsys.readouterr().err
    assert sweep(_quick, points, progress=False) == serial
    assert not capsys.readouterr().err


def test_a_sweep_raises_what_a_point_raises():
    for processes in (1, 2):
        with pytest.raises(ZeroDivisionError):
            sweep(_inverse, [1, 0, 2], processes=processes)


def _quick(point):
    return times(point, ["stripe by rates"])["optimum"]


def _inverse(number):
    return 1 / number


# ---- real traces ------------------------------------------------------------------------------


def test_the_bounds_on_sharing_are_in_order():
    found = {(each.trace, each.token_time, each.bound): each for each in sharing()}
    assert len(found) == 12
    for (trace, seconds, bound), upper in found.items():
        if bound == "upper":
            lower = found[trace, seconds, "lower"]
            assert 1 <= lower.readers <= upper.readers
            assert lower.shared <= upper.shared
            assert lower.active <= upper.active
    assert splitting_gain(found["conversation", 0.3, "lower"], "llama-2-7b", box("CENT")) >= 1


@pytest.mark.parametrize("counted", sharing(), ids=lambda s: f"{s.trace}-{s.token_time}-{s.bound}")
def test_the_counts_follow_from_the_traces(counted):
    trace = TRACES / f"mooncake_{counted.trace}.jsonl"
    if not trace.exists():
        pytest.skip(f"{trace.name} of kvcache-ai/Mooncake is not here; put it into {trace.parent}")
    again = count_readers(trace, counted.token_time, counted.bound)
    assert again.active == pytest.approx(counted.active, abs=0.01)
    assert list(again.tokens) == pytest.approx(list(counted.tokens), rel=1e-5)
    assert list(again.tokens.values()) == pytest.approx(list(counted.tokens.values()), abs=0.1)
