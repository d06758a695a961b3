"""Predictions for runs of AttAcc's simulator, from its names of systems and models."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from kvlib.catalogue import model
from kvlib.systems.attacc import Box, dgx, dgx_attacc, dgx_cpu
from kvlib.validation._runs import NotCovered
from kvlib.workload import Attention, FeedForward, Layer, Transformer

__all__ = ["METRICS", "predict"]

_SYSTEM = re.compile(r"(?P<gpus>\d+)x(?P<gpu>A100a|H100)(?P<int8>-INT8)?(?P<options>(\+[\w-]+)*)")
_LEVELS: dict[str, Any] = {
    "AttAcc-bank": "bank",
    "AttAcc-bg": "bank-group",
    "AttAcc-buffer": "buffer",
}
_OPTIONS = {"powerlimit": "power_limited", "pipeopt": "pipelined", "ffopt": "coprocessing"}

_MODELS = {
    "GPT-175B": (96, 12288, 96, 4), "GPT-89B": (48, 12288, 96, 4), "GPT-13B": (40, 5120, 40, 4),
    "LLAMA-7B": (32, 4096, 32, 8 / 3), "LLAMA-65B": (80, 8192, 64, 8 / 3),
    "MT-310B": (96, 16384, 128, 4), "MT-530B": (105, 20480, 128, 4),
    "MT-1008B": (128, 25600, 160, 4), "OPT-66B": (64, 9216, 72, 4),
}  # fmt: skip
"""Layers, hidden elements, heads and width of the feed-forward network over these, as the simulator
has them :cite:`attacc2024repo`. Two more of its models contradict themselves: 40 heads of 128 do
not make 10,240 (MT-76B), nor 80 heads 12,288 (MT-146B)."""

METRICS = {
    "tpot": "s", "prefill_time": "s", "gen_attention_matmul": "s", "gen_fc": "s", "gen_comm": "s",
    "gen_act_norm": "s", "gen_softmax": "s", "gen_qkv": "s", "gen_proj": "s", "gen_ff": "s",
    "gen_g2g": "s", "gen_x2g": "s", "gen_energy_per_step": "J", "gen_dram_energy_per_step": "J",
    "gen_attn_mem_energy": "J", "gen_fc_mem_energy": "J", "gen_comm_energy": "J",
    "required_capacity": "B", "system_capacity": "B", "decode_throughput": "token/s",
}  # fmt: skip
"""Metrics of the table and their dimensions."""


def predict(run: dict[str, Any]) -> Mapping[str, float]:
    """Metrics of one run, in SI."""
    box, precision = system(run["system"])
    shape, batch = transformer(run["model"]), int(run["batch"])
    prompt, tokens = int(run["lin"]), int(run["lout"])
    if tokens < 2:
        raise NotCovered("lout = 1: no decode step, prefill makes the only token")
    size: dict[str, Any] = {"batch": batch, "prompt": prompt, "precision": precision}
    step = box.generate(shape, **size, tokens=tokens)
    state = box.memory(shape, batch=batch, tokens=prompt + tokens - 1, precision=precision)["all"]
    time, energy = step.time, dict(step.energy)
    if run["cycles"] == "fresh" and "AttAcc-buffer" in run["system"]:
        # The simulator's first run of a length counts half of what the units read, later ones all.
        energy["attention memory"] /= 2
    dram = sum(energy[f"{what} memory"] for what in ("attention", "matrix", "other"))
    return {
        "tpot": step.total,
        "decode_throughput": batch / step.total,
        "prefill_time": box.prefill(shape, **size).total,
        "gen_attention_matmul": time["attention"],
        "gen_softmax": time["softmax"],
        "gen_qkv": time["qkv"],
        "gen_proj": time["projection"],
        "gen_ff": time["feed-forward"],
        "gen_fc": time["qkv"] + time["projection"] + time["feed-forward"],
        "gen_act_norm": time["norms and activations"],
        "gen_g2g": time["all-reduce"],
        "gen_x2g": time["link"],
        "gen_comm": time["all-reduce"] + time["link"],
        "gen_energy_per_step": sum(energy.values()),
        "gen_dram_energy_per_step": dram,
        "gen_attn_mem_energy": energy["attention memory"],
        "gen_fc_mem_energy": energy["matrix memory"],
        "gen_comm_energy": energy["communication"],
        "required_capacity": state.needed,
        "system_capacity": state.capacity,
    }


@cache
def system(name: str) -> tuple[Box, str]:
    """Box and number format behind a name such as ``"8xA100a+AttAcc-bank+powerlimit"``.

    Examples
    --------
    >>> box, precision = system("16xH100-INT8")
    >>> box.gpus, box.gpu.name, precision
    (16, 'h100-sxm-80gb', 'int8')
    """
    found = _SYSTEM.fullmatch(name)
    if found is None:
        raise NotCovered(f"system {name!r} is not N x A100a or H100, with +options")
    options = [option for option in found["options"].split("+") if option]
    beside = [option for option in options if option in _LEVELS or option == "CPU-attn"]
    flags: dict[str, Any] = {flag: option in options for option, flag in _OPTIONS.items()}
    unknown = set(options) - set(beside) - set(_OPTIONS)
    if unknown or len(beside) > 1:
        raise NotCovered(f"options {', '.join(sorted(unknown) or beside)} of {name!r}")
    precision, gpus = "int8" if found["int8"] else "fp16", int(found["gpus"])
    gpu: Any = found["gpu"]
    if not beside:
        return dgx(gpu, gpus=gpus), precision
    if beside == ["CPU-attn"]:
        return dgx_cpu(gpu, gpus=gpus), precision
    level = _LEVELS[beside[0]]
    return dgx_attacc(level, gpu=gpu, gpus=gpus, **flags), precision


@cache
def transformer(name: str) -> Transformer:
    """Model of the simulator by its name, else of the catalogue.

    Widths are rounded up to a multiple of 16, to be divisible by the GPUs: the simulator computes
    with fractions of a column. It has neither LM head nor embedding.
    """
    if name not in _MODELS:
        return model(name)
    layers, hidden, heads, scale = _MODELS[name]
    width = -(-int(-(-scale * hidden // 1)) // 16) * 16
    layer = Layer(Attention(heads, heads, hidden // heads), FeedForward(width, "LLAMA" in name))
    return replace(
        model("gpt-3-175b"), name=name, title=name, layers=(layer,) * layers, hidden=hidden,
        published={}, provenance={}, biases=False,
    )  # fmt: skip
