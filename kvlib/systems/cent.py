"""CENT: no GPU at all, every matrix and every cache in the banks of memory devices on CXL.

A device has 32 channels of GDDR6-AiM, a multiply-add unit to each of their 16 banks, and units near
the memory for what is no product. Nothing is batched: a block works on one query at a time, and
throughput comes from a pipeline of blocks with a query in each (`cent()`), or latency from several
devices that share each block's matrices (``cent(tensor=...)``) :cite:p:`gu2025cent`.

The banks' time comes from DRAM timing and the published mapping, with no fitted constant; the rest
are the authors' formulas :cite:p:`cent2025repo`. What these leave out is in `CORRECTIONS`.

>>> from kvlib import model
>>> llama = model("llama-2-70b")
>>> for system in cent(), cent(tensor=32):
...     served = system.serve(llama, gap=128)
...     rate, time = served.rate["end2end"], served.time["end2end"]
...     print(f"{system.stages(llama)} queries: {rate:.0f} token/s, {time:.0f} s for one")
80 queries: 1184 token/s, 281 s for one
1 queries: 111 token/s, 40 s for one
"""

from typing import Any

from kvlib.nearmemory import BankPim
from kvlib.nearmemory import cent as one_device
from kvlib.quoted import Quoted
from kvlib.systems._cent_gpu import BY_BATCH, BY_CONTEXT, PHASES, PUBLISHED, Gpus, Published, Served
from kvlib.systems._cent_plan import block_plan, pipeline_plan
from kvlib.systems._cent_system import Cent
from kvlib.systems._cent_token import CORRECTIONS, Block
from kvlib.systems._cost import Cost

__all__ = [
    "BY_BATCH", "BY_CONTEXT", "CORRECTIONS", "PHASES", "PUBLISHED",
    "Block", "Cent", "Cost", "Gpus", "Published", "Served",
    "block_plan", "cent", "cost_share", "pipeline_plan",
]  # fmt: skip

_DEVICES, _GPUS = (
    Quoted(value, source="cent2025repo", basis="assumed", note=f"{what}; unit not stated")
    for value, what in ((0.73, "32 devices"), (1.76, "4 GPUs"))
)


def cent(devices: int = 32, *, tensor: int | None = None, pim: BankPim | None = None) -> Cent:
    """Return a system of so many devices.

    Parameters
    ----------
    devices : int
        Devices of 16 GiB: the authors take 8, 20 and 32 for Llama-2-7B, 13B and 70B.
    tensor : int, optional
        Devices that share a block; one block to a group of channels unless given.
    pim : BankPim, optional
        Another device, for a what-if: ``kvlib.nearmemory.cent().replace(...)``.

    Examples
    --------
    >>> print(f"{cent().pim.bandwidth * 32 / 1e12:.0f} TB/s in the banks of 32 devices")
    524 TB/s in the banks of 32 devices
    """
    return Cent(pim=pim or one_device(), devices=devices, tensor=tensor)


def cost_share(*, gpus: int, devices: int) -> Any:
    """Cost of some A100s over that of some devices of CENT, to own and to run, as published.

    The script gives 1.76 for four GPUs and 0.73 for 32 devices, and no unit.

    Examples
    --------
    >>> print(f"{cost_share(gpus=4, devices=32):.2f}")
    2.41
    """
    return float((_GPUS * gpus / 4) / (_DEVICES * devices / 32))
