"""Plans: no shorter than the busiest resource or the longest chain, and drawn as they are timed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from kvlib.checks import UnknownName
from kvlib.plotting import gantt
from kvlib.schedule import Bar, Stage, interleave, parallel, pipeline, repeat, serial, spread

TIMES = st.floats(0.0, 100.0).map(lambda time: round(time, 3))
RESOURCES = ("GPU", "NPU", "PIM", "link")


def stages(*resources):
    names = st.sampled_from(["qkv", "attention", "ffn"])
    return st.builds(Stage, names, st.sampled_from(resources or RESOURCES), TIMES)


@st.composite
def apart(draw, least=1):
    """Stages that need a resource each."""
    names = draw(st.lists(st.sampled_from(RESOURCES), min_size=least, max_size=4, unique=True))
    return [draw(stages(name)) for name in names]


CHAINS = st.lists(st.lists(stages(), min_size=1, max_size=5), min_size=1, max_size=4)

PLANS = st.recursive(
    st.one_of(
        stages(),
        st.builds(lambda parts: parallel(*parts), apart()),
        st.builds(pipeline, apart(), st.integers(1, 5)),
        st.builds(lambda chains: interleave(*chains), CHAINS),
    ),
    lambda plans: st.one_of(
        st.builds(lambda parts: serial(*parts), st.lists(plans, min_size=1, max_size=3)),
        st.builds(repeat, plans, st.integers(1, 3)),
    ),
    max_leaves=6,
)


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-9)


# ---- whatever the plan ------------------------------------------------------------


@given(plan=PLANS)
def test_no_shorter_than_the_busiest_resource_or_the_longest_chain(plan):
    least = max([plan.longest_chain, *plan.busy.values()])
    assert plan.makespan >= least * (1 - 1e-9)
    assert plan.makespan <= sum(plan.busy.values()) * (1 + 1e-9) + 1e-9


@given(plan=PLANS)
def test_the_chart_ends_with_the_makespan_and_shows_all_work(plan):
    bars = plan.gantt()
    assert max([0.0, *(bar.end for bar in bars)]) == close(plan.makespan)
    for resource, busy in plan.busy.items():
        own = [bar for bar in bars if bar.resource == resource]
        assert sum(bar.end - bar.start for bar in own) == close(busy)
        for one, following in pairwise(own):  # bars come in order of start
            assert following.start >= one.end - 1e-9


@given(plan=PLANS)
def test_utilisation_is_a_fraction(plan):
    if plan.makespan > 0:
        assert all(0 <= part <= 1 + 1e-9 for part in plan.utilisation.values())


@given(plan=PLANS, factor=st.floats(0.1, 10))
def test_a_repeated_plan_takes_as_many_times_as_long(plan, factor):
    assert repeat(plan, 7).makespan == close(7 * plan.makespan)
    assert repeat(plan, 7).busy == {name: close(7 * time) for name, time in plan.busy.items()}


# ---- each combinator --------------------------------------------------------------


@given(parts=apart())
def test_side_by_side_is_never_longer_than_one_after_the_other(parts):
    assert parallel(*parts).makespan <= serial(*parts).makespan + 1e-9
    assert parallel(*parts).makespan == max(part.time for part in parts)


@given(parts=apart(), count=st.integers(1, 12))
def test_a_pipeline_is_its_items_interleaved(parts, count):
    assert pipeline(parts, count).makespan == close(interleave(*[parts] * count).makespan)
    assert pipeline(parts, count).makespan <= count * serial(*parts).makespan + 1e-9


@given(parts=apart(least=2), count=st.integers(1, 12))
def test_the_closed_form_is_the_list_of_bars(parts, count):
    by_hand = sum(part.time for part in parts) + (count - 1) * max(part.time for part in parts)
    assert pipeline(parts, count).makespan == close(by_hand)


@given(chains=CHAINS)
def test_interleaving_never_takes_longer_than_a_series(chains):
    alone = sum(serial(*chain).makespan for chain in chains)
    assert interleave(*chains).makespan <= alone + 1e-9


def test_two_sub_batches_keep_both_processors_busy():
    # Layers of NeuPIMs: matrices on the NPU, attention in the memory, three layers of two halves.
    half = [Stage("matrices", "NPU", 3.0), Stage("attention", "PIM", 3.0)] * 3
    plan = interleave(half, half)
    assert plan.makespan == 21.0  # 36 one after the other, 18 of work on each, 3 to fill
    assert plan.utilisation == {"NPU": 18 / 21, "PIM": 18 / 21}


def test_the_later_stage_goes_first_where_two_meet():
    chain = [Stage("a", "GPU", 1.0), Stage("b", "GPU", 1.0)]
    order = [bar.stage for bar in interleave(chain, chain, chain).gantt()]
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_tensor_parallel_ranks_work_at_once_and_then_exchange():
    ranks = [f"GPU {rank}" for rank in range(4)]
    layer = serial(spread("matrices", ranks, 2.0), Stage("all-reduce", "NVLink", 0.5))
    assert repeat(layer, 10).makespan == 25.0
    assert layer.utilisation["GPU 3"] == 0.8


def test_pipeline_parallel_stages_fill_and_drain():
    stages = [Stage("layers", f"device {place}", 1.0) for place in range(80)]
    assert pipeline(stages, 1).makespan == 80.0
    assert pipeline(stages, 80).makespan == 159.0
    assert pipeline(stages, 80).utilisation["device 7"] == 80 / 159


def test_times_broadcast_and_a_chart_is_of_one_configuration():
    batch = np.array([1.0, 2.0, 3.0])
    chain = [Stage("qkv", "GPU", 2.0), Stage("attention", "PIM", batch)]
    assert pipeline(chain, 3).makespan.tolist() == [7.0, 8.0, 11.0]
    assert interleave(chain, chain).makespan.tolist() == [5.0, 6.0, 8.0]
    assert parallel(*chain).utilisation["PIM"].tolist() == [0.5, 1.0, 1.0]
    with pytest.raises(ValueError, match=r"makespan has shape \(3,\): a Gantt chart is of one"):
        pipeline(chain, 3).gantt()


def test_stages_without_time_have_no_bar():
    assert serial(Stage("a", "GPU", 0.0), Stage("b", "GPU", 1.0)).gantt() == [
        Bar("GPU", "b", 0.0, 1.0)
    ]


def test_a_chart_has_a_lane_for_each_resource_and_names_where_there_is_room():
    ax = Figure().subplots()
    short = Stage("results", "link", 1e-6)
    plan = serial(Stage("qkv", "GPU", 60e-6), short, Stage("attention", "PIM", 90e-6))
    gantt(ax, plan.gantt(), {"GPU": "GPU", "link": "NIC", "PIM": "PIM"}, until=200e-6)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["GPU", "link", "PIM"]
    assert [text.get_text() for text in ax.texts] == ["qkv", "attention"]
    assert [round(bar.get_width()) for bar in ax.patches] == [60, 1, 90]
    assert ax.get_xlim() == pytest.approx((0, 200))
    with pytest.raises(UnknownName, match="resource of the chart 'PIM' is unknown"):
        gantt(ax, plan.gantt(), {"GPU": "GPU", "link": "NIC"})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: Stage("qkv", "GPU", -1.0), ValueError, "time of 'qkv' = -1.0 must be finite"),
        (lambda: Stage("qkv", "GPU", float("nan")), ValueError, "must be finite"),
        (lambda: Stage("qkv", "GPU", "long"), TypeError, "must be a number"),
        (lambda: spread("qkv", ["GPU", "GPU"], 1.0), ValueError, "'GPU' cannot work side by side"),
        (
            lambda: pipeline([Stage("a", "GPU", 1.0), Stage("b", "GPU", 1.0)], 2),
            ValueError,
            "cannot be stages of one pipeline",
        ),
        (lambda: pipeline([Stage("a", "GPU", 1.0)], 0), ValueError, "count = 0 must be"),
        (lambda: repeat(Stage("a", "GPU", 1.0), 1.5), ValueError, "whole number"),
        (lambda: serial(), ValueError, "give at least one stage"),
        (lambda: interleave([]), ValueError, "give at least one stage"),
    ],
)
def test_plans_that_cannot_be(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()
