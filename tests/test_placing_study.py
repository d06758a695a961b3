"""The study of chapter 17: whole, and recomputed apart from the solver."""

import pytest

from kvlib.placement import evaluate, nature_blind, optimum
from kvlib.validation.placing import BOXES, MODELS, WORKLOADS, box, case, served, times


def test_every_box_has_gpus_as_hub_and_something_beside():
    assert all(box(name).hub == "gpu" and len(box(name).sites) > 1 for name in BOXES)


def test_every_state_serves_64():
    counts = {sum(g.count for g in served(m, w).active) for m in MODELS for w in WORKLOADS}
    assert counts == {64}


@pytest.mark.parametrize("name", BOXES)
def test_optimum_is_no_worse_than_any_rule_and_no_better_than_its_bound(name):
    found = times(case("llama-2-7b", box(name), "agents"))
    extra = {"bound", "attention", "split"}
    rules = {rule: time for rule, time in found.items() if rule not in extra}
    assert min(rules.values()) >= found["optimum"] * (1 - 1e-9)
    assert found["bound"] <= found["optimum"] * (1 + 1e-9)


def test_a_model_above_the_ridge_gains_nothing_over_one_mix():
    step = case("deepseek-v3", box("AttAcc"), "agents")
    mix, best = nature_blind(step), optimum(step)
    assert mix
    assert best
    assert evaluate(mix).time / evaluate(best.placement).time == pytest.approx(1, abs=5e-4)


def test_what_does_not_fit_is_refused():
    step = case("llama-3.1-70b", box("NeuPIMs"), "long document", many=1024)
    with pytest.raises(ValueError, match="short"):
        times(step)
