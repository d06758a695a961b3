"""Predictions for tables of attention beside DRAM banks, simulated or measured."""

from typing import Any

import numpy as np

from kvlib.checks import choose
from kvlib.nearmemory import attacc, attention, cent, gddr6_aim, hbm_pim, neupims
from kvlib.nearmemory.bank import BankPim
from kvlib.precision import itemsize
from kvlib.validation._tables import Table

__all__ = ["bank_attention", "bank_attention_roofline"]

Times = np.ndarray[Any, Any]

_DESIGNS = {
    "attacc-bank": lambda: attacc("bank"),
    "attacc-bank-group": lambda: attacc("bank-group"),
    "attacc-buffer": lambda: attacc("buffer"),
    "cent-device": cent,
    "gddr6-aim": gddr6_aim,
    "hbm-pim": hbm_pim,
    "neupims-pim": neupims,
}
"""Cards of which `kvlib.nearmemory` has a model."""


def bank_attention(rows: Table) -> Times:
    """Times from DRAM timing and organisation alone [s]."""
    cost = attention(
        _design(rows),
        rows["context"],
        heads=rows["kv_heads"],
        head_dim=rows["head_dim"],
        queries=rows["queries"],
        precision=str(rows["dtype"][0]),
    )
    return np.asarray(cost.time)


def bank_attention_roofline(rows: Table) -> Times:
    """Times at the units' own rate, if nothing interrupted them [s].

    Units that multiply one vector at a time read the cache once for each query row.
    """
    elements = 2.0 * rows["context"] * rows["kv_heads"] * rows["head_dim"] * rows["queries"]
    return np.asarray(elements * itemsize(str(rows["dtype"][0])) / _design(rows).bandwidth)


def _design(rows: Table) -> BankPim:
    """The design of the first row, with its channels and its interval between multiplications."""
    known = _DESIGNS[choose(str(rows["device"][0]), _DESIGNS, "bank-level design")]()
    interval = float(rows["mac_interval_s"][0])
    return known.replace(channels=int(rows["channels"][0]), timing={"tMAC": interval})
