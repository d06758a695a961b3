"""AttAcc and its baselines, against quoted runs of its simulator and against first principles."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib import device, model
from kvlib.checks import UnknownName
from kvlib.hardware import UnknownFigure
from kvlib.systems.attacc import CORRECTIONS, Box, Host, Units, dgx, dgx_attacc, dgx_cpu
from kvlib.validation import TableError, compare, excerpt, load
from kvlib.validation.__main__ import main
from kvlib.validation._attacc import system, transformer

GPT = model("gpt-3-175b")
AUTHORITY = Path(__file__).parents[2] / "shared" / "authorities" / "attacc.csv"
LIMITS = {  # largest median error of each metric, and 95th percentile where one is set
    "tpot": (0.03, 0.08), "decode_throughput": (0.03, 0.08), "prefill_time": (0.10, 0.10),
    "gen_energy_per_step": (0.10, 0.10), "gen_dram_energy_per_step": (0.10, 0.10),
    "gen_attn_mem_energy": (0.10, 0.10), "gen_fc_mem_energy": (0.10, 0.10),
    "gen_comm_energy": (0.10, 0.10), "required_capacity": (0.01, 0.01),
    "system_capacity": (0.0, 0.0),
}  # fmt: skip


def milliseconds(box, batch, context=2049, shape=GPT, **options):
    return 1e3 * box.decode(shape, batch=batch, context=context, **options).total


# ---- the simulator's runs ---------------------------------------------------------


def within_limits(path):
    kind, table = load(path)
    found = compare(kind, table)
    for metric in dict.fromkeys(found.metric.tolist()):
        median, p95 = LIMITS.get(metric, (0.08, 0.25))
        errors = found.errors(metric)
        assert errors.median <= median, metric
        assert errors.p95 <= p95, metric
    return kind, table, found


def test_the_quoted_runs_metric_by_metric():
    kind, table, found = within_limits(excerpt("attacc"))
    assert kind.name == "attacc"
    assert len(found.metric) + found.zeros.total() == len(table)
    assert not found.uncovered
    assert not found.half_zeros


def test_runs_with_units_alone_are_as_good():
    """The runs on GPUs alone are the simulator's own equations: they must not hide the others."""
    kind, table = load(excerpt("attacc"))
    found = compare(kind, table.take(np.char.find(table["system"], "AttAcc") >= 0))
    assert found.errors("tpot").p95 <= 0.02
    assert found.errors("gen_attention_matmul").median <= 0.05
    assert found.errors("gen_attention_matmul").p95 <= 0.06


def test_all_runs_of_the_authority():
    if not AUTHORITY.exists():
        pytest.skip(f"{AUTHORITY} is not here: the excerpt was checked instead")
    _, table, found = within_limits(AUTHORITY)
    assert len(found.metric) + found.zeros.total() == len(table)


# GPT-175B at 2048 + 128 tokens, 54 sequences: TPOT [ms] with each optimisation of the paper
ABLATION = [
    ((False, False, True), 34.73),
    ((True, False, True), 31.84),
    ((False, True, True), 33.07),
    ((True, True, True), 30.19),
    ((True, True, False), 29.13),
]


@pytest.mark.parametrize(("options", "simulated"), ABLATION)
def test_each_optimisation_is_worth_what_the_simulator_says(options, simulated):
    pipelined, coprocessing, limited = options
    box = dgx_attacc(pipelined=pipelined, coprocessing=coprocessing, power_limited=limited)
    cost = box.generate(GPT, batch=54, prompt=2048, tokens=128)
    assert 1e3 * cost.total == pytest.approx(simulated, rel=0.01)


@pytest.mark.parametrize(("prompt", "tokens", "batch"), [(2048, 128, 101), (2048, 2048, 54)])
def test_batches_of_the_paper_are_those_that_just_do_not_fit(prompt, tokens, batch):
    last = prompt + tokens - 1
    assert dgx_attacc().largest_batch(GPT, tokens=last) == batch - 1
    states = [
        dgx_attacc().memory(GPT, batch=size, tokens=last)["all"] for size in (batch - 1, batch)
    ]
    assert [bool(state.fits) for state in states] == [True, False]
    assert states[1].shortfall == pytest.approx(states[1].needed - dgx_attacc().capacity)


# ---- names of systems and models --------------------------------------------------


def test_names_of_the_simulator():
    box, precision = system("8xH100-INT8+AttAcc-bg+pipeopt")
    assert (box.gpus, box.gpu.name, precision) == (8, "h100-sxm-80gb", "int8")
    assert (box.pipelined, box.coprocessing, box.beside.scale) == (True, False, 8)
    assert isinstance(system("8xA100a+CPU-attn")[0].beside, Host)
    assert transformer("LLAMA-65B").layers[0].feed_forward.width == 21856
    assert transformer("MT-530B").layers[0].attention.head_dim == 160
    assert transformer("llama-3-8b").name == "llama-3-8b"


@pytest.mark.parametrize("name", ["8xA100a+AttAcc-rank", "B200", "8xA100a+CPU-attn+AttAcc-bank"])
def test_systems_it_does_not_know_are_refused(name):
    with pytest.raises(ValueError, match=r"system|options"):
        system(name)


@pytest.fixture
def table(tmp_path):
    def write(*rows):
        path = tmp_path / "runs.csv"
        header = "system,model,lin,lout,batch,cycles,metric,value,unit"
        path.write_text("\n".join([header, *rows]), encoding="utf-8")
        return path

    return write


GOOD = "8xA100a,GPT-175B,2048,2,1,none,tpot,30.915,ms"


def test_rows_that_are_not_covered_are_counted_and_named(capsys, table):
    path = table(
        GOOD,
        GOOD.replace("8xA100a", "9xB200"),
        GOOD.replace("GPT-175B", "GPT-1T"),
        GOOD.replace("8xA100a", "16xA100a").replace("GPT-175B", "OPT-66B"),
        GOOD.replace("tpot", "tea_time"),
        GOOD.replace("tpot", "gen_softmax").replace("30.915", "0.0"),
    )
    assert main([str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "MAPE 0.0 % over 1 rows (runs.csv attacc tpot)"
    assert lines[-2].startswith("not covered: 4 rows")
    for word in ("9xB200", "GPT-1T", "heads = 72 cannot be split over 16", "metric 'tea_time'"):
        assert word in lines[-2]
    assert lines[-3] == "zero in one of them only: 1 rows: gen_softmax (1)"


def test_one_metric_is_selected_and_others_are_offered(capsys):
    assert main([str(excerpt("attacc")), "--metric", "prefill_time"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[-1].endswith("over 17 rows (attacc.csv attacc prefill_time)")
    assert main([str(excerpt("attacc")), "--metric", "tpto"]) == 2
    assert "Nearest known: tpot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD.replace(",ms", ",J"), "'J' measures J, but this metric is in s"),
        (GOOD.replace(",ms", ",fortnight"), "not a known unit"),
        (GOOD.replace("30.915", "-1"), "must be finite and above zero"),
        (GOOD.replace("30.915", "fast"), "is not a number"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_with_their_line(capsys, table, row, message):
    assert main([str(table(GOOD, row))]) == 2
    problem = capsys.readouterr().err
    assert "line 3" in problem
    assert message in problem


def test_a_table_of_runs_has_no_roofline(capsys):
    assert main([str(excerpt("attacc")), "--ideal"]) == 2
    assert "Leave --ideal" in capsys.readouterr().err
    assert main([str(excerpt("gemm")), "--metric", "tpot"]) == 2
    assert "Leave --metric" in capsys.readouterr().err
    with pytest.raises(TableError):
        load(Path("nowhere.csv"))


# ---- first principles -------------------------------------------------------------

BOXES = [dgx(), dgx(gpus=16), dgx("H100"), dgx_cpu(), *map(dgx_attacc, ("bank", "buffer"))]


@settings(max_examples=20)
@given(
    box=st.sampled_from(BOXES), batch=st.integers(1, 300), context=st.integers(2, 8000),
    precision=st.sampled_from(["fp16", "int8"]),
)  # fmt: skip
def test_more_context_never_takes_less_and_parts_are_never_negative(box, batch, context, precision):
    size = {"batch": batch, "precision": precision}
    short, longer = (box.decode(GPT, context=c, **size) for c in (context, context + 512))
    assert min(map(float, short.time.values())) >= -1e-12
    assert short.total == pytest.approx(sum(short.time.values()))
    assert longer.time["attention"] >= short.time["attention"] * 0.98  # refreshes come in steps
    assert longer.energy["attention memory"] >= short.energy["attention memory"]


@settings(max_examples=20)
@given(batch=st.integers(1, 400), context=st.integers(2, 6000), pipelined=st.booleans())
def test_the_formula_of_the_overlap_is_close_to_the_schedule_of_every_head(
    batch, context, pipelined
):
    box = dgx_attacc(pipelined=pipelined)
    layer = box.layer_plan(GPT, batch=batch, context=context)
    formula = box.decode(GPT, batch=batch, context=context).total / 96
    assert layer.makespan == pytest.approx(formula, rel=0.02)
    assert max(bar.end for bar in layer.gantt()) == pytest.approx(layer.makespan)


def test_neither_optimisation_nor_power_ever_costs_time():
    for batch in (1, 16, 54, 200):
        plain = milliseconds(dgx_attacc(pipelined=False, coprocessing=False), batch)
        both = milliseconds(dgx_attacc(), batch)
        assert both <= min(
            milliseconds(dgx_attacc(coprocessing=False), batch),
            milliseconds(dgx_attacc(pipelined=False), batch),
            plain,
        )
        assert milliseconds(dgx_attacc(power_limited=False), batch) <= both


def test_units_nearer_to_the_cells_are_faster():
    bank, group, buffer = (
        milliseconds(dgx_attacc(level), 54) for level in ("bank", "bank-group", "buffer")
    )
    assert bank < group < buffer
    assert buffer == pytest.approx(milliseconds(dgx(), 54), rel=0.15)


def test_arrays_of_batches_are_each_batch_alone():
    batches = np.array([1, 16, 54])
    together = dgx_attacc().generate(GPT, batch=batches, prompt=512, tokens=8).total
    alone = [dgx_attacc().generate(GPT, batch=b, prompt=512, tokens=8).total for b in (1, 16, 54)]
    assert together == pytest.approx(alone)
    assert dgx_attacc().largest_batch(GPT, tokens=np.array([255, 2175])).tolist() == [853, 100]


# ---- what the simulator leaves out, and what it does not support -------------------


def test_each_correction_changes_what_it_says():
    base, large = dgx_attacc(), {"batch": 54, "context": 2049}
    changed = {
        "softmax": lambda box: box.decode(GPT, **large).total,
        "timed-coprocessing": lambda box: box.decode(GPT, **large).total,
        "lm-head": lambda box: box.decode(GPT, **large).total,
        "unit-energy": lambda box: box.decode(GPT, **large).total_energy,
        "prompt-transfer": lambda box: box.prefill(GPT, batch=8, prompt=512).total,
    }
    for name, ask in changed.items():
        assert ask(base.correct(name)) != ask(base), name
    alone = {"batch": 1, "context": 2049}
    gpu = dgx().correct("split-attention").decode(GPT, **alone)
    assert gpu.time["attention"] == pytest.approx(dgx().decode(GPT, **alone).time["attention"] / 9)
    host = dgx_cpu().correct("two-sockets").decode(GPT, **large).time["attention"]
    assert host == pytest.approx(4 * dgx_cpu().decode(GPT, **large).time["attention"])
    assert dgx().correct().corrected == set(CORRECTIONS)
    assert dgx_attacc().correct("lm-head").largest_batch(GPT, tokens=2175) == 99


def test_grouped_queries_are_assumed_to_read_again_and_say_so():
    llama = model("llama-3-70b")
    cost = dgx_attacc().decode(llama, batch=16, context=2049)
    assert "8 query heads share a KV head" in cost.assumptions[0]
    units = dgx_attacc().beside
    reusing = replace(units, pim=units.pim.replace(reuse=8, held=8))
    shared = replace(dgx_attacc(), beside=reusing).decode(llama, batch=16, context=2049)
    assert cost.time["attention"] > 4 * shared.time["attention"]
    assert not dgx_attacc().decode(GPT, batch=16, context=2049).assumptions


def test_latent_attention_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"one compressed row a token for all heads \(MLA\)"):
        dgx_attacc().decode(model("deepseek-v2"), batch=1, context=128)


def test_windows_shorten_what_the_units_read():
    gemma = model("gemma-3-27b")
    box = dgx_attacc()
    near, far = (box.decode(gemma, batch=4, context=c).time["attention"] for c in (4096, 32768))
    assert far < 7 * near  # five of six layers see 1024 tokens


def test_units_hold_only_what_they_attend_to():
    pooled = dgx_attacc().largest_batch(GPT, tokens=2175)
    apart = dgx_attacc().largest_batch(GPT, tokens=2175, pooled=False)
    assert (pooled, apart) == (100, 66)
    assert dgx(gpus=2).largest_batch(GPT, tokens=2175) == 0
    assert not dgx(gpus=2).memory(GPT, batch=1, tokens=1)["all"].fits


def test_measured_kernels_answer_the_same_question():
    h100 = device("h100-sxm-80gb")
    for batch in (1, 54):
        gpu, units = dgx(h100, gpu_model="measured"), dgx_attacc(gpu=h100, gpu_model="measured")
        alone = gpu.decode(GPT, batch=batch, context=2049)
        beside = units.decode(GPT, batch=batch, context=2049)
        assert beside.total < alone.total
        assert {"head", "attention", "all-reduce"} <= set(beside.time)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: dgx("A101"), UnknownName, "A100a"),
        (lambda: dgx(gpus=0), ValueError, "gpus = 0"),
        (lambda: Box(gpu=device("h100-sxm-80gb"), gpu_model="guess"), UnknownName, "GPU model"),
        (lambda: dgx().correct("all"), UnknownName, "correction"),
        (lambda: dgx_attacc("rank"), UnknownName, "level of AttAcc's units"),
        (lambda: dgx(gpus=5).decode(GPT, batch=1, context=9), ValueError, "heads = 96 cannot be"),
        (lambda: dgx().generate(GPT, batch=1, prompt=9, tokens=1), ValueError, "tokens - 1 = 0"),
        (lambda: dgx().decode(GPT, batch=1.5, context=9), ValueError, "batch = 1.5"),
        (
            lambda: dgx(device("b200-hgx-180gb")).decode(GPT, batch=1, context=9),
            UnknownFigure,
            "the simulator knows the L1 of",
        ),
    ],
)
def test_boxes_that_cannot_be(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_one_configuration_is_quick():
    box = dgx_attacc()
    assert isinstance(box.beside, Units)
    best = []
    for _ in range(5):
        start = time.process_time()
        box.decode(GPT, batch=54, context=2049)
        best.append(time.process_time() - start)
    assert min(best) < 0.02  # benchmarks/systems.py times it; here only an order of magnitude
