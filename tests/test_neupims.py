"""NeuPIMs and its baselines, against quoted runs of its simulator and against first principles."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib import device, model
from kvlib.checks import UnknownName
from kvlib.operators import GemmShape
from kvlib.systems._neupims_channels import Channels, Heads
from kvlib.systems._neupims_npu import Npu
from kvlib.systems._neupims_stages import StageRun
from kvlib.systems.neupims import (
    CORRECTIONS,
    MODELS,
    gpu_only_time,
    lengths,
    naive,
    neupims,
    npu_only,
)
from kvlib.units import us
from kvlib.validation import compare, excerpt, load
from kvlib.validation.__main__ import main
from kvlib.validation._neupims_requests import CLB_0
from kvlib.workload import Attention, Layer

GPT = model("gpt-3-6.7b")
AUTHORITY = Path(__file__).parents[2] / "shared" / "authorities" / "neupims.csv"
HEADS = Heads(kv=8, group=1, dim=128)
LINK = device("a100-sxm-40gb").link().replace(latency=2 * us)


def first(count):
    return [length for length, _ in CLB_0[:count]], [channel for _, channel in CLB_0[:count]]


# ---- the simulator's runs ---------------------------------------------------------


def within_limits(path):
    kind, table = load(path)
    found = compare(kind, table)
    assert kind.name == "neupims"
    assert found.errors("stage cycles, matrices").mean <= 0.06
    assert found.errors("stage cycles, matrices").p95 <= 0.15
    assert found.errors("stage cycles, attention").p95 <= 0.08
    assert found.errors(*kind.headline).mean <= 0.15
    assert found.errors("finish cycles").p95 <= 0.08
    assert len(found.metric) + found.uncovered.total() == len(table)
    return found


def test_the_quoted_runs():
    assert not within_limits(excerpt("neupims")).uncovered


def test_all_runs_of_the_authority():
    if not AUTHORITY.exists():
        pytest.skip(f"{AUTHORITY} is not here: the excerpt was checked instead")
    found = within_limits(AUTHORITY)
    assert found.uncovered == {"metric 'bandwidth, attention'": 10}


@pytest.mark.parametrize(("count", "cut", "simulated"), [(8, False, 173037), (64, True, 595684)])
def test_whole_runs_end_when_the_simulator_says(count, cut, simulated):
    requests, places = first(count)
    system = neupims(sub_batches="always") if cut else naive()
    run = system.decode(GPT, requests, places=places, layers=2 if cut else 1)
    assert run.time * 1e9 == pytest.approx(simulated, rel=0.02)
    assert run.plan().makespan == pytest.approx(run.time)


def table_of(tmp_path, *rows):
    path = tmp_path / "runs.csv"
    header = "simulator,system,model,batch,metric,value,unit,status"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


ROW = (
    '{},"sub-batch-off, 1 requests (first 1 rows of {} trace: {})",'
    '"{} layer, TP4",1,{},{},cycles,{}'
)
QKV = "SA_stage_A:layer0.attn.QKVgen:TotalCycle"


def test_rows_that_are_not_covered_are_counted_and_named(tmp_path, capsys):
    path = table_of(
        tmp_path,
        ROW.format("s", "clb-0", "2048", "GPT3-7B", QKV, 27514, "finished"),
        ROW.format("s", "clb-7", "100", "GPT3-7B", QKV, 27514, "finished"),
        ROW.format("s", "clb-0", "2048", "GPT3-7B", QKV, 1, "timed out"),
        ROW.format("s", "clb-0", "2048", "GPT3-8B", QKV, 1, "finished"),
        ROW.format("s", "clb-0", "2048", "GPT3-7B", "icnt", 1, "finished"),
    )
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "not covered: 3 rows" in out
    for part in ("timed out", "GPT3-8B", "metric 'icnt'"):
        assert part in out
    assert out.splitlines()[-1].startswith("MAPE 1.")


def test_one_metric_and_a_wrong_one(capsys):
    assert main([str(excerpt("neupims")), "--metric", "finish cycles"]) == 0
    assert "over 11 rows" in capsys.readouterr().out.splitlines()[-1]
    assert main([str(excerpt("neupims")), "--metric", "finnish"]) == 2
    assert "finish cycles" in capsys.readouterr().err


def test_a_configuration_takes_less_than_five_milliseconds():
    requests = lengths(80, 296, 256)
    best = []
    for _ in range(7):
        begin = time.perf_counter()
        neupims().decode(GPT, requests)
        best.append(time.perf_counter() - begin)
    assert min(best) < 5e-3


# ---- NPU --------------------------------------------------------------------------


def test_matrices_wait_for_memory_until_blocks_add_up():
    npu = Npu.of_neupims()
    times = [npu.matrix_time(GemmShape(m, 4096, 4096), 2) for m in (1, 128, 129, 512)]
    least = 4096 * 4096 * 2 / npu.card.memory().bandwidth
    assert least < times[0] < times[1] < 1.2 * least
    block = npu.block_time(GemmShape(1, 4096, 4096))
    assert times[2] - times[1] == pytest.approx(block, rel=0.02)
    peak = 2 * 512 * 4096 * 4096 / npu.card.peak("fp16")
    assert times[3] > peak


def test_a_small_scratchpad_reads_tokens_again():
    whole = Npu.of_neupims()
    small = replace(whole, scratchpad=2.0**20)
    shape = GemmShape(128, 4096, 4096)
    assert small.matrix_bytes(shape, 2) > 1.2 * whole.matrix_bytes(shape, 2)
    tiny = GemmShape(128, 128, 128)
    assert small.matrix_bytes(tiny, 2) == whole.matrix_bytes(tiny, 2)


# ---- channels ---------------------------------------------------------------------


def test_the_schedulers_estimate_is_that_of_the_simulator():
    channels = Channels.of_neupims()
    assert channels.estimate(2048, HEADS) * 1e9 == pytest.approx(
        2 * 100 + 2 * 64 * 184 + 8 * 4 * 100 + 8 * 4 * 4 * 184
    )


def test_balancing_is_no_worse_than_dealing_in_turn_and_respects_the_longest():
    requests = lengths(80, 296, 256)
    channels = Channels.of_neupims()
    turn = replace(channels, balance="round-robin")
    greedy_time, turn_time = (sum(each.times(requests, HEADS)) for each in (channels, turn))
    assert greedy_time < 0.9 * turn_time
    alone = sum(channels.times([max(requests)], HEADS))
    mean = sum(np.mean(load) for load in channels.loads(requests, HEADS))
    assert max(alone, mean) <= greedy_time < alone + 1.2 * mean


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 2048), min_size=1, max_size=60))
def test_every_request_gets_a_channel_and_all_their_work_is_done(requests):
    channels = Channels.of_neupims()
    scores, outputs = channels.loads(requests, HEADS)
    each = channels.request_times(np.array(requests), HEADS)
    assert scores.sum() == pytest.approx(each[0].sum())
    assert outputs.sum() == pytest.approx(each[1].sum())


def test_opening_all_banks_at_once_takes_nothing_from_the_host():
    channels = Channels.of_neupims()
    at_once = replace(channels, pim=channels.pim.replace(banks_per_window=32))
    assert at_once.stalls(HEADS) == (0.0, 0.0)
    assert min(channels.stalls(HEADS)) > 0.15
    assert at_once.tile < 0.6 * channels.tile


# ---- stages -----------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 9), min_size=1, max_size=5), st.lists(st.floats(0.01, 9), min_size=2,
    max_size=2), st.floats(0, 0.9), st.floats(0, 0.9),
)  # fmt: skip
def test_stalls_stretch_the_npu_but_never_beyond_the_units(work, pim, one, two):
    npu = {str(number): time for number, time in enumerate(work)}
    units = dict(zip(("scores", "outputs"), pim, strict=True))
    alone = sum(work)
    shared = sum(StageRun("C", npu, units, (one, two)).npu_times.values())
    assert alone - 1e-9 <= shared <= alone + one * pim[0] + two * pim[1] + 1e-9
    turn = StageRun("C", npu, units, (one, two), together=False)
    assert turn.time == pytest.approx(alone + sum(pim))
    assert turn.plan().makespan == pytest.approx(turn.time)


def test_one_row_buffer_gains_nothing_from_sub_batches():
    requests = lengths(80, 296, 256)
    cut = neupims(sub_batches="always")
    blocked = replace(cut, channels=cut.channels.single_row_buffer())
    whole = neupims(sub_batches="never")
    assert cut.decode(GPT, requests).time < whole.decode(GPT, requests).time
    assert blocked.decode(GPT, requests).time > whole.decode(GPT, requests).time


def test_the_schedule_adds_up():
    run = neupims(sub_batches="always").decode(GPT, [376] * 64)
    plan = run.plan()
    assert plan.makespan == pytest.approx(run.time)
    assert all(0 < part <= 1 for part in plan.utilisation.values())
    assert [stage.name for stage in run.stages] == list("ABCDEF")


# ---- what the paper does not ask ----------------------------------------------------


def test_a_small_batch_is_better_left_whole():
    for batch in (8, 64):
        requests = lengths(80, 296, batch)
        whole, cut = (
            neupims(sub_batches=how).decode(GPT, requests).time for how in ("never", "always")
        )
        assert whole < cut
        assert neupims().decode(GPT, requests).time == whole


def test_grouped_heads_are_read_again_and_said_so():
    shared = replace(GPT, layers=(Layer(Attention(32, 4, 128), GPT.layers[0].feed_forward),) * 32)
    run = neupims().decode(shared, [376] * 256)
    assert "8 query heads share a KV head" in run.assumptions[0]
    assert npu_only().decode(shared, [376] * 256).assumptions == ()


def test_latent_attention_is_refused():
    with pytest.raises(ValueError, match="MLA"):
        neupims(tensor=1).decode(model("deepseek-v2-lite"), [100])


def test_too_large_a_batch_is_a_value_with_its_shortfall():
    system, shape = neupims(), model("gpt-3-13b")
    most = system.largest_batch(shape, 376)
    states = [system.memory(shape, [376] * size) for size in (most, most + 1)]
    assert [bool(state.fits) for state in states] == [True, False]
    assert states[1].shortfall > 0 == states[0].shortfall
    assert system.largest_batch(shape, 376, padded=False) > most
    assert neupims(tensor=1).largest_batch(model("gpt-3-175b"), 376) == 0


@pytest.mark.parametrize("name", CORRECTIONS)
def test_every_correction_costs_time(name):
    requests = lengths(80, 296, 64)
    right = neupims().correct(name, link=LINK).decode(GPT, requests).time
    assert right > neupims().decode(GPT, requests).time


def test_models_of_the_paper_and_gpus():
    requests = lengths(12, 56, 64)
    for name, tensor, pipeline in MODELS.values():
        shape, size = model(name), {"tensor": tensor, "pipeline": pipeline}
        run = neupims(**size).decode(shape, requests)
        assert run.layers * pipeline == len(shape.layers)
        slow, fast = (
            npu_only(exact_attention=exact, **size).decode(shape, requests).time
            for exact in (True, False)
        )
        assert slow > fast
        gpu = gpu_only_time(shape, requests, **size)
        assert gpu < gpu_only_time(shape, requests, whole_step=True, **size)


def test_lengths_have_the_mean_of_their_distribution():
    assert np.mean(lengths(80, 296, 4096, longest=10**6)) == pytest.approx(376, rel=0.01)
    assert max(lengths(80, 296, 512)) <= 2048


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: neupims().decode(GPT, []), ValueError, "0 requests"),
        (lambda: neupims().decode(GPT, [1.5]), ValueError, "whole number"),
        (lambda: neupims().decode(GPT, [0]), ValueError, "above zero"),
        (lambda: neupims().decode(GPT, [1, 2], places=[0]), ValueError, "1 places for 2"),
        (lambda: neupims().decode(GPT, [1], places=[32]), ValueError, "0 to 31"),
        (lambda: neupims(tensor=3).decode(GPT, [1]), ValueError, "3"),
        (lambda: neupims(sub_batches="often"), UnknownName, "often"),
        (lambda: neupims().correct("softmax"), UnknownName, "softmax"),
        (lambda: neupims().correct("all-reduce"), ValueError, "link"),
        (lambda: lengths(80, -1, 4), ValueError, "output"),
        (lambda: naive(balance="luck"), UnknownName, "luck"),
    ],
)
def test_bad_input_names_value_and_rule(call, error, words):
    with pytest.raises(error, match=words):
        call()
