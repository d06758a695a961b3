"""AttAcc: GPUs keep the matrices, units in HBM3 stacks beside them do the attention of decode.

A box of GPUs shares every layer by tensor parallelism. Beside each GPU stand five stacks whose
units hold the keys and values and attend to them; queries go over a link and results come back.
Two things hide time :cite:p:`park2024attacc`: heads follow each other through projections, link and
attention (`pipelined`), and the units take a part of the feed-forward network (`coprocessing`).

The parts are those of `kvlib`: `phases` says what a layer computes, `nearmemory` how long attention
takes in the banks, `schedule` what overlaps. For the GPU there are two answers: the authors'
simulator (``gpu_model="simulator"``), to compare with their tables, and kernels that were measured
(``"measured"``), to ask what their tables do not say.

>>> from kvlib import model
>>> for box in dgx(), dgx_attacc("bank"):
...     step = box.decode(model("gpt-3-175b"), batch=16, context=2049)
...     print(f"{1e3 * step.total:.2f} ms, attention {1e3 * step.time['attention']:.2f} ms of it")
36.04 ms, attention 7.70 ms of it
24.18 ms, attention 0.92 ms of it
"""

from typing import Any, Literal

from kvlib.catalogue import device
from kvlib.checks import choose
from kvlib.hardware import Device
from kvlib.nearmemory import attacc as units_in_stacks
from kvlib.quoted import Quoted
from kvlib.systems._attacc_beside import Host, Units
from kvlib.systems._attacc_box import CORRECTIONS, Box
from kvlib.systems._cost import Cost
from kvlib.units import GB, TFLOP, MiB, TiB, s

__all__ = [
    "CORRECTIONS", "Box", "Cost", "Host", "Units",
    "dgx", "dgx_attacc", "dgx_cpu", "simulated_gpu",
]  # fmt: skip

_SIMULATOR: dict[str, Any] = {"source": "attacc2024repo", "basis": "assumed"}


def simulated_gpu(name: str) -> Device:
    """Return a GPU as AttAcc's simulator has it: ``"A100a"`` (an A100 with HBM3) or ``"H100"``.

    The simulator's H100 differs from the datasheet's: 80 GiB, 3352 GB/s, 50 MiB of L2.

    Examples
    --------
    >>> from kvlib.units import GiB
    >>> simulated_gpu("H100").memory().capacity / GiB
    80.0
    """
    if choose(name, ["A100a", "H100"], "GPU of the simulator") == "A100a":
        return device("a100a-hbm3")
    card, assumed = device("h100-sxm-80gb"), device("a100a-hbm3").memory()
    hbm = card.memory().replace(capacity=assumed.capacity, bandwidth=assumed.bandwidth)
    l2 = card.memory("l2").replace(capacity=Quoted(50 * MiB, **_SIMULATOR, unit="MiB"))
    return card.replace(memories=(hbm, l2))


def dgx(
    gpu: str | Device = "A100a",
    *,
    gpus: int = 8,
    gpu_model: Literal["simulator", "measured"] = "simulator",
) -> Box:
    """Return a box of GPUs that also attend: DGX_Base with 8 of them, DGX_Large with 16.

    Examples
    --------
    >>> from kvlib.units import GiB
    >>> print(f"{dgx(gpus=16).capacity / GiB:.0f} GiB")
    1280 GiB
    """
    return Box(gpu=_gpu(gpu), gpus=gpus, gpu_model=gpu_model)


def dgx_cpu(gpu: Literal["A100a", "H100"] = "A100a", *, gpus: int = 8) -> Box:
    """Return a box whose host attends, in its own memory.

    The simulator gives every GPU a socket of 4 TFLOP/s to itself, though there are two.
    """
    bandwidth, link = {"A100a": (200.0, 128.0), "H100": (563.2, 256.0)}[gpu]
    host = Host(
        bandwidth=Quoted(bandwidth * GB / s, **_SIMULATOR, unit="GB/s", note="of a socket"),
        peak=Quoted(4 * TFLOP / s, **_SIMULATOR, unit="TFLOP/s", note="of a socket"),
        capacity=Quoted(2 * TiB, **_SIMULATOR, unit="TiB", note="of two sockets"),
        link=Quoted(link * GB / s, **_SIMULATOR, unit="GB/s", note="one direction"),
    )
    return Box(gpu=simulated_gpu(gpu), gpus=gpus, beside=host)


def dgx_attacc(
    level: Literal["bank", "bank-group", "buffer"] = "bank",
    *,
    gpu: str | Device = "A100a",
    gpus: int = 8,
    gpu_model: Literal["simulator", "measured"] = "simulator",
    power_limited: bool = True,
    pipelined: bool = True,
    coprocessing: bool = True,
) -> Box:
    """Return a box with five AttAcc stacks beside each GPU.

    Parameters
    ----------
    level : {"bank", "bank-group", "buffer"}
        Where the units are.
    power_limited : bool
        Whether units of all banks multiply every 6 clocks, to stay within power, or every 4.
    gpu, gpus, gpu_model, pipelined, coprocessing
        As in `Box`.

    Examples
    --------
    >>> from kvlib.units import GiB
    >>> print(f"{dgx_attacc().capacity / GiB:.0f} GiB, half of it beside the GPUs")
    1280 GiB, half of it beside the GPUs
    """
    pim, card = units_in_stacks(level, power_limited=power_limited), device(f"attacc-{level}")
    limit = "power_limited" if power_limited else "unlimited"
    units = Units(
        pim=pim,
        stacks=int(card.memory().stacks),
        pins=card.memory("external").bandwidth,
        scale=card.parameters[f"bandwidth_scale_{limit}"],
        link=card.link("nvlink").bandwidth,
        link_energy=card.parameters["energy_link"],
        buffer_energy=card.parameters["energy_buffer"],
    )
    return Box(
        gpu=_gpu(gpu), gpus=gpus, beside=units, gpu_model=gpu_model,
        pipelined=pipelined, coprocessing=coprocessing,
    )  # fmt: skip


def _gpu(gpu: str | Device) -> Device:
    return simulated_gpu(gpu) if isinstance(gpu, str) else gpu
