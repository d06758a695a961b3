"""CENT and its baseline, against quoted tables of its artifact and against first principles."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib import model
from kvlib.checks import UnknownName
from kvlib.nearmemory import cent as one_device
from kvlib.systems.cent import (
    BY_CONTEXT,
    CORRECTIONS,
    PHASES,
    PUBLISHED,
    Gpus,
    block_plan,
    cent,
    cost_share,
    pipeline_plan,
)
from kvlib.validation import compare, excerpt, load
from kvlib.validation.__main__ import main
from kvlib.validation._cent import system, transformer

SMALL, MIDDLE, LARGE = (model(f"llama-2-{size}") for size in ("7b", "13b", "70b"))
DEVICES = {"llama-2-7b": 8, "llama-2-13b": 20, "llama-2-70b": 32}
AUTHORITIES = Path(__file__).parents[2] / "shared" / "authorities"
LIMITS = {  # largest median error of each metric, and 95th percentile
    "PIM latency": (0.01, 0.03), "CXL latency": (2e-5, 2e-5), "Acc latency": (2e-5, 2e-5),
    "Device utilization": (0.0, 0.0),
}  # fmt: skip


# ---- the published tables ---------------------------------------------------------


def within_limits(path):
    kind, table = load(path)
    found = compare(kind, table)
    for metric in dict.fromkeys(found.metric.tolist()):
        median, p95 = LIMITS.get(metric, (0.01, 0.02))
        errors = found.errors(metric)
        assert errors.median <= median, metric
        assert errors.p95 <= p95, metric
    return kind, table, found


@pytest.mark.parametrize(("name", "metrics"), [("cent", 4), ("cent_by_context", 10)])
def test_the_quoted_tables_metric_by_metric(name, metrics):
    kind, table, found = within_limits(excerpt(name))
    assert kind.name == name.replace("_", " ")
    assert len(set(found.metric.tolist())) == metrics
    assert len(found.metric) + found.uncovered.total() == len(kind.prepare(table))


@pytest.mark.parametrize("name", ["cent.csv", "cent_per_context.csv"])
def test_all_rows_of_the_authorities(name):
    path = AUTHORITIES / name
    if not path.exists():
        pytest.skip(f"{path} is not here: the excerpt was checked instead")
    kind, table, found = within_limits(path)
    assert len(found.metric) + found.uncovered.total() == len(kind.prepare(table))


def test_no_single_system_hides_behind_the_others():
    kind, table = load(excerpt("cent_by_context"))
    found = compare(kind, table, "PIM latency")
    assert np.abs(found.predicted / found.measured - 1).max() <= 0.025


@pytest.mark.parametrize(
    ("tensor", "rate", "energy", "time_of_one"),
    [(None, 4111, 0.136, None), (20, None, None, 51.47 / 4.703)],
)
def test_a_model_that_no_quoted_table_holds(tensor, rate, energy, time_of_one):
    """Llama-2-13B on 20 devices, from the captions and figures of the artifact."""
    served = cent(20, tensor=tensor).serve(MIDDLE, gap=128)
    if rate:
        assert served.rate["end2end"] == pytest.approx(rate, rel=0.01)
        assert served.energy["end2end"] == pytest.approx(energy, rel=0.02)
    else:
        assert served.time["end2end"] == pytest.approx(time_of_one, rel=0.01)


def test_the_command_names_what_it_leaves_out(capsys):
    assert main([str(excerpt("cent"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "not covered: 2 rows" in lines[-2]
    assert "measured on GPUs" in lines[-2]
    assert lines[-1].endswith("over 20 rows (cent.csv cent throughput, total_latency)")
    assert main([str(excerpt("cent_by_context"))]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("over 15 rows (cent_by_context.csv cent by context PIM latency)")
    assert main([str(excerpt("cent_by_context")), "--metric", "CXL latency"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("MAPE 0.0 % over 15 rows")
    assert main([str(excerpt("cent_by_context")), "--metric", "CXL lateness"]) == 2
    assert "CXL latency" in capsys.readouterr().err


def test_names_of_systems_and_models():
    assert transformer("Llama2-70B").name == "llama-2-70b"
    assert system(LARGE, 32, 32, 80, 1).tensor is None
    assert system(LARGE, 32, 32, 32, 1).tensor == 1
    assert system(LARGE, 32, 32, 4, 8).tensor == 8
    with pytest.raises(ValueError, match="are not 32 devices"):
        system(LARGE, 32, 32, 4, 4)
    with pytest.raises(UnknownName, match="Nearest known"):
        transformer("Llama2-71B")


# ---- what is claimed for it -------------------------------------------------------


def geometric(values):
    return float(np.exp(np.mean(np.log(list(values)))))


def test_headline_throughput_energy_cost_and_latency():
    rate, energy, cost, latency = {}, {}, {}, {}
    for name, devices in DEVICES.items():
        gpu, shape = PUBLISHED[name], model(name)
        many = cent(devices).serve(shape, gap=128)
        rate[name] = many.rate["end2end"] / gpu.rate["end2end"]
        energy[name] = 1 / many.energy["end2end"] / gpu.tokens_per_joule
        cost[name] = rate[name] * cost_share(gpus=gpu.gpus, devices=devices)
        alone = cent(devices, tensor=devices).serve(shape, gap=128)
        latency[name] = gpu.alone / alone.time["end2end"]
    assert geometric(rate.values()) == pytest.approx(2.32, rel=0.01)
    assert geometric(energy.values()) == pytest.approx(2.88, rel=0.01)
    assert geometric(cost.values()) == pytest.approx(5.19, rel=0.01)
    assert list(latency.values()) == pytest.approx([6.32, 4.70, 3.22], rel=0.015)
    # an earlier version divided by the power of one of the two GPUs of Llama-2-13B
    energy["llama-2-13b"] *= 1.9 / 3.9
    assert geometric(energy.values()) == pytest.approx(2.26, rel=0.02)


@pytest.mark.parametrize(
    ("context", "printed"), list(zip(BY_CONTEXT, (1.25, 1.97, 2.63, 3.33), strict=True))
)
def test_headline_long_contexts(context, printed):
    written = cent().decode(LARGE, context=context - 3584 // 2).total
    assert 80 / written / BY_CONTEXT[context] == pytest.approx(printed, rel=0.01)
    assert cent().memory(LARGE, batch=80, tokens=context).fits == (context <= 8192)


def test_kernels_do_better_than_the_published_baseline_with_many_gpus():
    seen = {}
    for name, published in PUBLISHED.items():
        gpus, shape = Gpus(gpus=published.gpus), model(name)
        batch = gpus.largest_batch(shape, tokens=4096)
        seen[name] = gpus.serve(shape, batch=batch).rate["decoding"] / published.rate["decoding"]
    assert seen["llama-2-7b"] == pytest.approx(1.0, abs=0.1)
    assert seen["llama-2-7b"] < seen["llama-2-13b"] < seen["llama-2-70b"]
    assert seen["llama-2-70b"] > 2


def test_gpus_serve_arrays_of_batches():
    many = Gpus(gpus=4).serve(LARGE, batch=np.array([1, 16, 64]))
    assert np.all(np.diff(many.time["end2end"]) > 0)
    assert np.all(np.diff(many.rate["end2end"]) > 0)
    one = Gpus(gpus=4).serve(LARGE, batch=16)
    assert one.time["end2end"] == pytest.approx(many.time["end2end"][1])


# ---- first principles -------------------------------------------------------------


def test_times_add_up_and_arrays_agree_with_numbers():
    contexts = np.array([1, 128, 1024, 1025, 4096])
    many = cent().decode(LARGE, context=contexts)
    for number, context in enumerate(contexts):
        one = cent().decode(LARGE, context=int(context))
        assert one.total == pytest.approx(many.total[number])
        assert one.total_energy == pytest.approx(many.total_energy[number])
        assert one.total == pytest.approx(sum(one.time.values()))
    block = cent().block(LARGE, context=4096)
    assert sum(block.causes().values()) == pytest.approx(block.banks)


@settings(max_examples=25, deadline=None)
@given(context=st.integers(1, 40000), tensor=st.sampled_from([None, 1, 2, 4, 8, 16, 32]))
def test_never_faster_than_the_banks(context, tensor):
    found = cent(tensor=tensor)
    block, place = found.block(LARGE, context=context), found.place(LARGE)
    layer = LARGE.layers[0]
    read = 2.0 * layer.feed_forward.parameters(LARGE.hidden) / place.devices
    peak = place.pim.bandwidth * place.channels / place.pim.channels
    assert block.part("up", "down") >= read / peak
    longer = found.block(LARGE, context=context + 1)
    assert longer.time >= block.time * (1 - 1e-12)


def test_more_devices_to_a_block_are_faster_and_serve_fewer():
    times = [cent(tensor=t).decode(LARGE, context=2048).total for t in (1, 2, 4, 8, 16, 32)]
    assert np.all(np.diff(times) < 0)
    rates = [cent(tensor=t).serve(LARGE, gap=128).rate["end2end"] for t in (2, 8, 32)]
    assert np.all(np.diff(rates) < 0)


def test_queries_beyond_the_stages_wait_and_fewer_leave_them_empty():
    full = cent().serve(LARGE, gap=128)
    half, twice = (cent().serve(LARGE, gap=128, batch=batch) for batch in (40, 160))
    assert half.rate["end2end"] == pytest.approx(full.rate["end2end"] / 2)
    assert half.time["end2end"] == pytest.approx(full.time["end2end"])
    assert twice.rate["end2end"] == pytest.approx(full.rate["end2end"])
    assert twice.time["end2end"] == pytest.approx(2 * full.time["end2end"])


@pytest.mark.parametrize("name", CORRECTIONS)
def test_each_correction_has_the_sign_it_should(name):
    plain, put_right = cent(tensor=1), cent(tensor=1).correct(name)
    before, after = (each.serve(LARGE, gap=128) for each in (plain, put_right))
    worse = {
        "refresh": before.time["end2end"] < after.time["end2end"],
        "standby": before.energy["end2end"] < after.energy["end2end"],
        "whole-layers": before.rate["end2end"] * 2.5 / 3 == pytest.approx(after.rate["end2end"]),
        "mean-rate": before.rate["end2end"] > after.rate["end2end"],
        "mean-power": before.power["end2end"] > after.power["end2end"],
        "look-up": before.time["end2end"] > after.time["end2end"],
        "gigabytes": before.time["end2end"] < after.time["end2end"],
    }
    assert worse[name]


def test_refresh_costs_its_share_of_the_interval_and_standby_a_fifth():
    t = one_device().timing
    before, after = (s.block(LARGE, context=2048) for s in (cent(), cent().correct("refresh")))
    assert after.banks / before.banks == pytest.approx(t["tREFI"] / (t["tREFI"] - t["tRFC"]))
    spent = [
        s.decode(LARGE, context=2048).total_energy for s in (cent(), cent().correct("standby"))
    ]
    assert spent[1] / spent[0] == pytest.approx(1.26, abs=0.01)
    assert cent().correct().corrected == frozenset(CORRECTIONS)


def test_a_unit_that_serves_a_group_at_once_saves_multiplications_not_transfers():
    pim = one_device().replace(reuse=8, held=8)
    today, better = cent().block(LARGE, context=4096), cent(pim=pim).block(LARGE, context=4096)
    assert better.part("scores") < today.part("scores") / 2
    assert better.part("softmax") == today.part("softmax")
    assert better.part("up", "down") == today.part("up", "down")
    mha = [cent(8, pim=p).block(SMALL, context=4096).banks for p in (pim, one_device())]
    assert mha[0] == mha[1]


def test_other_devices_may_hold_a_part_of_the_values():
    alone, spread = cent(tensor=8), replace(cent(tensor=8), spread_values=True)
    values = [s.block(LARGE, context=16384).part("values") for s in (alone, spread)]
    assert values[1] < values[0] / 4


def test_plans_take_as_long_as_what_they_show():
    found = cent()
    plan = block_plan(found, LARGE, context=4096)
    assert plan.makespan == pytest.approx(found.block(LARGE, context=4096).time)
    queries = pipeline_plan(found, LARGE, context=4096, blocks=4, tokens=3)
    assert queries.makespan == pytest.approx((3 * 4 + 3) * plan.makespan)
    assert {bar.resource for bar in queries.gantt()} == {f"block {n}" for n in range(1, 5)}


# ---- what it cannot hold, and does not know ----------------------------------------


def test_a_batch_that_does_not_fit_is_a_value_with_its_shortfall():
    states = [cent().memory(LARGE, batch=batch, tokens=32768) for batch in (27, 28)]
    assert [bool(state.fits) for state in states] == [True, False]
    assert cent().largest_batch(LARGE, tokens=32768) == 27
    assert states[1].shortfall == pytest.approx(states[1].needed - states[1].capacity)
    grid = cent().memory(LARGE, batch=np.array([[1], [80]]), tokens=np.array([4096, 32768]))
    assert grid.fits.tolist() == [[True, True], [True, False]]
    assert cent().largest_batch(model("llama-3.1-405b"), tokens=4096) == 0


def test_mla_and_experts_are_computed_under_a_stated_assumption():
    shape = model("deepseek-v2-lite")
    cost = cent(8).decode(shape, context=4096)
    assert any("CENT does not know MLA" in note for note in cost.assumptions)
    assert any("experts" in note for note in cost.assumptions)
    assert cent(8).decode(SMALL, context=4096).assumptions == ()
    assert any("8 query heads" in note for note in cent().decode(LARGE, context=9).assumptions)
    kept = cent(8).memory(shape, batch=1, tokens=4096).cache
    row = shape.layers[0].attention.kv_elements
    assert kept == pytest.approx(4096 * 2 * (row + 512))


def test_windows_bound_what_is_read():
    shape = model("mistral-7b-v0.1")
    times = [cent(8).decode(shape, context=context).total for context in (4096, 8192)]
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cent(32, tensor=5), ValueError, "does not divide devices"),
        (lambda: cent(2).decode(LARGE, context=1), ValueError, "Use 3 devices or more"),
        (lambda: cent(64, tensor=1).decode(SMALL, context=1), ValueError, "only 32 layers"),
        (lambda: cent().decode(LARGE, context=0), ValueError, "context = 0"),
        (lambda: cent().serve(LARGE, batch=0), ValueError, "batch = 0"),
        (lambda: cent().serve(LARGE, prompt=64, gap=128), ValueError, "at most 64"),
        (lambda: cent().correct("refreshing"), UnknownName, "refresh"),
        (lambda: cent(0), ValueError, "devices = 0"),
        (lambda: cent(200).decode(LARGE, context=1), ValueError, "Use at most 144"),
        (lambda: Gpus(gpus=4).serve(LARGE, batch=1.5), ValueError, "batch = 1.5"),
    ],
)
def test_bad_input_says_which_rule_broke(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_phases_cover_the_same_tokens():
    served = cent().serve(LARGE)
    assert tuple(served.time) == PHASES
    assert served.time["end2end"] == pytest.approx(served.time["prefill"] + served.time["decoding"])


def test_one_configuration_takes_milliseconds():
    best = []
    for _ in range(5):
        start = time.process_time()
        cent().decode(LARGE, context=4096)
        best.append(time.process_time() - start)
    assert min(best) < 5e-3
