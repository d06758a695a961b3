"""Schedules of CENT to be drawn: one block on one device, and queries on their way through."""

from kvlib.schedule import Plan, Stage, interleave, serial
from kvlib.systems._cent_system import Cent
from kvlib.workload import Transformer

__all__ = ["LANES", "block_plan", "pipeline_plan"]

LANES = ("banks", "front end", "near-memory units", "CXL")
"""Who works in a block, in `block_plan`."""


def block_plan(system: Cent, model: Transformer, *, context: int) -> Plan:
    """Schedule of one block for one token: who works when.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.systems.cent import cent
    >>> plan = block_plan(cent(), model("llama-2-70b"), context=4096)
    >>> print({name: f"{part:.0%}" for name, part in plan.utilisation.items()})
    {'near-memory units': '9%', 'front end': '17%', 'banks': '74%', 'CXL': '0%'}
    """
    one = system.block(model, context=context)
    near = {
        "norm": one.near["norms"] / 2, "second norm": one.near["norms"] / 2,
        "rotary": one.near["rotary"], "softmax": one.near["softmax"],
    }  # fmt: skip
    stages = []
    for name, program in one.parts.items():
        moved = one.slowed * program.time.get("front end", 0.0)
        before = near.get(name, 0.0)
        stages += [
            Stage(name, "near-memory units", before),
            Stage(name, "front end", moved),
            Stage(name, "banks", one.slowed * program.total - moved),
        ]
    stages.append(Stage("next block", "CXL", one.messages))
    return serial(*stages)


def pipeline_plan(
    system: Cent, model: Transformer, *, context: int, blocks: int = 6, tokens: int = 2
) -> Plan:
    """Schedule of a few blocks with a query in each, for some tokens of every query.

    A picture of the pipeline, of a model with so many blocks and with as many queries; each stage
    carries the number of its query.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.systems.cent import cent
    >>> llama = model("llama-2-70b")
    >>> plan = pipeline_plan(cent(), llama, context=4096, blocks=3, tokens=1)
    >>> print(f"{plan.makespan / cent().block(llama, context=4096).time:.0f} block times")
    5 block times
    """
    time = float(system.block(model, context=context).time)
    chains = [
        [
            Stage(str(query + 1), f"block {number + 1}", time)
            for _ in range(tokens)
            for number in range(blocks)
        ]
        for query in range(blocks)
    ]
    return interleave(*chains)
