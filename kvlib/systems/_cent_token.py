"""One block of CENT for one token: instructions, what stands beside them, energy."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kvlib.operators import plain
from kvlib.systems._cent_beside import accelerators, between_blocks, within_block
from kvlib.systems._cent_block import block, products
from kvlib.systems._cent_energy import dynamic, standby
from kvlib.systems._cent_program import Place, Program
from kvlib.systems._cost import added
from kvlib.workload import Attention, Layer, Transformer

__all__ = ["CORRECTIONS", "Block", "block_energy", "one_block", "slowed"]

CORRECTIONS = {
    "refresh": "DRAM is refreshed; the simulator is told how but never does it",
    "standby": "every channel of a device stands by all the time; the script counts one of 32",
    "whole-layers": "a stage holds whole layers, and the fullest sets the pace",
    "mean-rate": "tokens over time; the script averages the rates at all contexts",
    "mean-power": "energy over time; the script divides by the time of the banks alone",
    "look-up": "the embedding of a token is read, not multiplied with a vector of one one",
    "gigabytes": "a lane moves 4 GB/s; the script takes GiB/s",
}
"""What the authors' model leaves out or slips on; name in `Cent.corrected` what is to be put
right."""


@dataclass(frozen=True, eq=False)
class Block:
    """One block for one token: instructions by part, and what stands beside them.

    Parameters
    ----------
    parts : dict of str to Program
        Instructions on the device that attends, in order.
    shared : Program
        Instructions on each other device that shares the matrices.
    messages : float or array
        Time of messages [s].
    near : dict of str to float or array
        Time of the near-memory units, by what they do [s].
    slowed : float
        What refresh makes of one second.
    """

    parts: dict[str, Program]
    shared: Program
    messages: Any
    near: dict[str, Any]
    slowed: float

    @cached_property
    def accelerators(self) -> Any:
        """Time of the near-memory units [s]."""
        return added(self.near.values())

    @cached_property
    def banks(self) -> Any:
        """Time of the instructions [s]."""
        return self.slowed * added(part.total for part in self.parts.values())

    @property
    def time(self) -> Any:
        """Time of the block, one thing after another [s]."""
        return self.banks + self.messages + self.accelerators

    def part(self, *names: str) -> Any:
        """Time of some parts [s]."""
        return self.slowed * added(self.parts[name].total for name in names)

    def causes(self) -> dict[str, Any]:
        """Time of the instructions by cause [s]."""
        total = sum(self.parts.values(), Program({}, {}))
        return {name: plain(self.slowed * time) for name, time in total.time.items()}


def one_block(
    model: Transformer,
    layer: Layer,
    place: Place,
    context: Any,
    *,
    devices: int,
    shared: bool,
    corrected: frozenset[str],
) -> Block:
    """Put a block together.

    Parameters
    ----------
    model, layer : Transformer and Layer
        Which block.
    place : Place
        Where it lies.
    context : int or array
        Tokens in the cache with the new one.
    devices : int
        Devices behind the switch.
    shared : bool
        Whether whole devices share a block, or blocks share a device.
    corrected : frozenset of str
        Keys of `CORRECTIONS`.
    """
    attention, hidden, width = layer.attention, model.hidden, layer.feed_forward.width
    rope, binary = model.position == "rope", "gigabytes" not in corrected
    if shared:
        messages = within_block(hidden, width, devices, place.devices, binary=binary)
    else:
        messages = between_blocks(hidden, devices, binary=binary)
    seen = context if attention.window is None else np.minimum(context, attention.window)
    group = attention.group if isinstance(attention, Attention) else 1
    near = accelerators(hidden, attention.heads, group, seen, rotary=rope)
    return Block(
        parts=block(place, layer, hidden, context, rotary=rope),
        shared=sum(products(place, layer, hidden).values(), Program({}, {})),
        messages=messages,
        near={name: time * (1 if shared else place.blocks) for name, time in near.items()},
        slowed=slowed(place, corrected),
    )


def block_energy(place: Place, one: Block, *, corrected: frozenset[str]) -> dict[str, Any]:
    """Energy of all devices that work on a block's token, and on those beside it [J]."""
    every, others = "standby" in corrected, place.devices - 1
    alone = one.slowed * one.shared.total
    mine = dynamic(sum(one.parts.values(), Program({}, {})))
    mine["standby"] = standby(place, one.banks, one.time - one.banks, all_channels=every)
    if not others:
        return mine
    theirs = dynamic(one.shared)
    theirs["standby"] = standby(place, alone, one.time - alone, all_channels=every)
    return {name: part + others * theirs[name] for name, part in mine.items()}


def slowed(place: Place, corrected: frozenset[str]) -> float:
    """What refresh makes of a second in the banks [s]."""
    t = place.pim.timing
    lost = t["tRFC"] if "refresh" in corrected else 0.0
    return float(t["tREFI"] / (t["tREFI"] - lost))
