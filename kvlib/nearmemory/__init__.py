"""Computing beside or inside the memory: time from timing, answers from executed commands.

Units beside DRAM banks (`attacc`, `cent`, `gddr6_aim`, `hbm_pim`, `neupims`) share one model:
`gemv` and `attention` in closed form, `trace` command by command. Modules and drives have their
own, and so have arrays that compute in place and cores on the memory die, in modules named after
them: `ambit`, `simdram`, `flash`, `fpim`, `upmem`. `ask` puts one question to all of them, and to
any GPU or NPU of the catalogue.

>>> from kvlib import device
>>> from kvlib.nearmemory import ask, attacc, bank_site, decode_attention, processor_site
>>> sites = {"H100": processor_site(device("h100-sxm-80gb")), "AttAcc": bank_site(attacc("bank"))}
>>> for heads in (8, 64):
...     task = decode_attention(4096, heads=heads, kv_heads=8, head_dim=128, precision="fp16",
...                             requests=32)
...     replies = ask(task, sites)
...     print(heads // 8, {name: f"{reply.time * 1e6:.0f} us" for name, reply in replies.items()})
1 {'H100': '160 us', 'AttAcc': '25 us'}
8 {'H100': '161 us', 'AttAcc': '201 us'}
"""

from kvlib.nearmemory.answer import (
    Answer,
    Refusal,
    Site,
    Task,
    ask,
    decode_attention,
    matrix_vector,
    scan,
)
from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.commands import Command, host_reads, trace, violations
from kvlib.nearmemory.designs import attacc, cent, gddr6_aim, hbm_pim, neupims
from kvlib.nearmemory.layout import Layout
from kvlib.nearmemory.lockstep import Cost, attention, gemv, sharing_time
from kvlib.nearmemory.module import MemoryModule, axdimm, cxl_pnm, rank_gain
from kvlib.nearmemory.sites import (
    bank_site,
    drive_site,
    kernel_site,
    module_site,
    processor_site,
)
from kvlib.nearmemory.sites_in_array import (
    ambit_site,
    bitwise_task,
    flash_cosmos_site,
    fpim_site,
    simdram_site,
)
from kvlib.nearmemory.sites_on_die import upmem_site
from kvlib.nearmemory.storage import Drive, drive, lifetime, scan_time, write_budget

__all__ = [
    "Answer", "BankPim", "Command", "Cost", "Drive", "Layout",
    "MemoryModule", "Refusal", "Site", "Task", "ambit_site", "ask",
    "attacc", "attention", "axdimm", "bank_site", "bitwise_task", "cent",
    "cxl_pnm", "decode_attention", "drive", "drive_site", "flash_cosmos_site", "fpim_site",
    "gddr6_aim", "gemv", "hbm_pim", "host_reads", "kernel_site", "lifetime", "matrix_vector",
    "module_site", "neupims", "processor_site", "rank_gain", "scan", "scan_time",
    "sharing_time", "simdram_site", "trace", "upmem_site", "violations", "write_budget",
]  # fmt: skip
