"""Bank-level PIM command by command: what one channel does for one product, and when.

`walk` lists the steps, `trace` gives each command its time, `violations` checks any list of
commands against the timing. `kvlib.nearmemory.lockstep` is the same model in closed form.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kvlib.checks import whole
from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.layout import Layout
from kvlib.nearmemory.lockstep import at_once, fillings, result_reads

__all__ = ["Command", "Step", "end", "host_reads", "trace", "violations", "walk"]


class Step(NamedTuple):
    """One thing a channel does.

    Parameters
    ----------
    kind : {"write", "open", "multiply", "close", "read"}
        Write a vector's columns, open a row, multiply a column, close the row, read results.
    number : int
        Commands it takes.
    row, group, column : int
        Row of the banks, group of outputs and column of the group; -1 where they mean nothing.
    first, last : int
        Vectors concerned: first <= vector < last.
    """

    kind: str
    number: int
    row: int = -1
    group: int = -1
    column: int = -1
    first: int = 0
    last: int = 1


class Command(NamedTuple):
    """One command: its name, when it is issued, how long it keeps its resource, and where it goes.

    Parameters
    ----------
    name : {"WRITE", "ACT", "MAC", "PRE", "READ", "REF"}
        Write the vector buffer, activate, multiply, precharge, read results, refresh.
    time, duration : float
        Issue, and the time until what it started is done [s].
    row, column : int
        Row of the banks, column within that row; -1 where they mean nothing.
    """

    name: str
    time: float
    duration: float
    row: int = -1
    column: int = -1


def walk(
    pim: BankPim,
    outputs: int,
    inputs: int,
    *,
    precision: str,
    vectors: int = 1,
    layout: str | Layout = "matrix",
) -> Iterator[Step]:
    """List what one channel does for one product, in order.

    Parameters
    ----------
    pim, outputs, inputs, precision, vectors, layout
        As in `kvlib.nearmemory.gemv`, for one channel.

    Yields
    ------
    Step
        A row is closed as soon as its last column is multiplied, so a transfer between two rows
        finds the banks closed.

    Examples
    --------
    >>> from kvlib.nearmemory import gddr6_aim
    >>> steps = list(walk(gddr6_aim(), 16, 1024, precision="bf16"))
    >>> [step.kind for step in steps if step.kind != "multiply"]
    ['write', 'open', 'close', 'read']
    """
    whole(outputs=outputs, inputs=inputs, vectors=vectors)
    chosen, elements = pim.layout(layout), pim.elements(precision)
    groups, columns = (int(extent) for extent in chosen.extent(outputs, inputs, elements))
    chunk, filled = (int(number) for number in fillings(pim, chosen, columns, elements))
    visits = _visits(pim, chosen, groups, columns, chunk, filled)
    by_group = filled == 1 and at_once(pim, chosen)
    for first in range(0, vectors, pim.held):
        last = min(first + pim.held, vectors)
        served = last - first
        repeats = -(-served // pim.reuse)
        for number, (group, column, filling, row) in enumerate(visits):
            new = number == 0 or visits[number - 1][2] != filling
            if new and (filled > 1 or number == 0):
                length = min(chunk, columns - filling % filled * chunk)
                pieces = int(chosen.vector_columns(length, elements)) * chosen.write_steps
                yield Step("write", served * pieces, first=first, last=last)
            if number == 0 or visits[number - 1][3] != row:
                yield Step("open", 1, row, group, column, first, last)
            yield Step("multiply", repeats, row, group, column, first, last)
            after = visits[number + 1] if number + 1 < len(visits) else (-1, -1, -1, -1)
            if after[3] != row:
                yield Step("close", 1, row, group, column, first, last)
            done = after[0] != group if by_group else after[2] // filled != filling // filled
            if done:
                left = groups - filling // filled * pim.accumulators
                ready = 1 if by_group else min(pim.accumulators, left)
                reads = int(result_reads(pim, chosen, ready, elements))
                yield Step("read", served * reads, first=first, last=last)


def _visits(
    pim: BankPim, layout: Layout, groups: int, columns: int, chunk: int, filled: int
) -> list[tuple[int, int, int, int]]:
    """Columns in the order they are read: group, column, filling of the buffer, row of the bank."""
    visits: list[tuple[int, int, int, int]] = []
    row, left = -1, 0
    for start in range(0, groups, pim.accumulators):
        for part in range(filled):
            filling = start // pim.accumulators * filled + part
            for group in range(start, min(start + pim.accumulators, groups)):
                if layout.new_row:
                    left = 0
                for column in range(part * chunk, min(part * chunk + chunk, columns)):
                    if left == 0:
                        row, left = row + 1, pim.row_columns
                    left -= 1
                    visits.append((group, column, filling, row))
    return visits


def trace(
    pim: BankPim,
    outputs: int,
    inputs: int,
    *,
    precision: str,
    vectors: int = 1,
    layout: str | Layout = "matrix",
    refresh: bool = True,
) -> list[Command]:
    """Commands of one channel for one product, each issued as early as the timing allows.

    Parameters
    ----------
    pim, outputs, inputs, precision, vectors, layout
        As in `kvlib.nearmemory.gemv`, for one channel.
    refresh : bool
        Whether a refresh is due every tREFI, the first one a tREFI after the start.

    Returns
    -------
    list of Command
        In order of issue.

    Raises
    ------
    ValueError
        If several banks take turns behind one unit: then rows open behind one another's back, which
        this list of one open row cannot show.

    Examples
    --------
    >>> from kvlib.nearmemory import gddr6_aim
    >>> commands = trace(gddr6_aim(), 16, 1024, precision="bf16")
    >>> for command in commands:
    ...     if command.name in ("ACT", "PRE", "READ"):
    ...         print(f"{command.name:5}{command.time * 1e9:6.0f} ns")
    ACT      96 ns
    PRE     193 ns
    READ    209 ns
    """
    if pim.banks_per_unit > 1:
        raise ValueError(
            f"{pim.name!r} has {pim.banks_per_unit} banks behind each unit; a trace shows one open "
            f"row. Use kvlib.nearmemory.gemv for its time, or a design with banks_per_unit = 1."
        )
    t = {name: float(value) for name, value in pim.timing.parameters.items()}
    issued: list[Command] = []
    now = bus = ready = opened = last_mac = 0.0
    due = t["tREFI"] if refresh else np.inf
    columns = 0
    for step in walk(pim, outputs, inputs, precision=precision, vectors=vectors, layout=layout):
        if step.kind in ("write", "read"):
            each = float(pim.write if step.kind == "write" else pim.read)
            start = bus if pim.overlap else now
            if step.kind == "read" and pim.overlap:
                start = max(bus, last_mac + t["tMAC"])
            setup = float(pim.write_setup) if step.kind == "write" else 0.0
            name, first = step.kind.upper(), start + setup
            issued.append(Command(name, start, setup + each))  # the first one waits for the setup
            issued += [Command(name, first + i * each, each) for i in range(1, step.number)]
            bus = first + step.number * each
            if not pim.overlap:
                now = bus
            elif step.kind == "write":
                ready = bus
        elif step.kind == "open":
            while due <= now:
                issued.append(Command("REF", now, t["tRFC"]))
                now += t["tRFC"]
                due += t["tREFI"]
            opened, columns = now, 0
            for window in range(pim.openings):
                now = opened + (window * t["tFAW"] if window else 0.0)
                issued.append(Command("ACT", now, t["tRCD"], step.row))
            last_open = now
            now += t["tRCD"]
        elif step.kind == "multiply":
            now = max(now, ready)
            for _ in range(step.number):
                issued.append(Command("MAC", now, t["tMAC"], step.row, columns))
                last_mac, now = now, now + t["tMAC"]
            columns += 1
        else:
            now = max(last_mac + t["tRTP"], last_open + t["tRAS"])
            issued.append(Command("PRE", now, t["tRP"], step.row))
            now = max(now + t["tRP"], opened + t.get("tRC", 0.0))
    return sorted(issued, key=lambda command: command.time)


def host_reads(pim: BankPim, columns: int, *, start: float = 0.0) -> list[Command]:
    """Commands of the host reading columns of one bank, to draw beside those of the units.

    With two row buffers to a bank it may start at any time; with one it must wait until the units
    have closed their row (`kvlib.nearmemory.sharing_time`).

    Parameters
    ----------
    pim : BankPim
        Whose banks.
    columns : int
        Columns to read.
    start : float
        When the first row may be opened [s].

    Returns
    -------
    list of Command
        Named ``"HOST ACT"``, ``"HOST RD"`` and ``"HOST PRE"``.

    Examples
    --------
    >>> from kvlib.nearmemory import neupims
    >>> reads = host_reads(neupims(), 40)
    >>> print(f"{reads[-1].time * 1e9:.0f} ns,", sum(c.name == "HOST RD" for c in reads), "reads")
    99 ns, 40 reads
    """
    whole(columns=columns)
    t = {name: float(value) for name, value in pim.timing.parameters.items()}
    issued: list[Command] = []
    now = start
    for row, first in enumerate(range(0, columns, pim.row_columns)):
        issued.append(Command("HOST ACT", now, t["tRCD"], row))
        read = opened = now
        for column in range(min(pim.row_columns, columns - first)):
            read = opened + t["tRCD"] + column * t["tCCD_S"]
            issued.append(Command("HOST RD", read, t["tCCD_S"], row, column))
        now = max(read + t["tRTP"], opened + t["tRAS"])
        issued.append(Command("HOST PRE", now, t["tRP"], row))
        now += t["tRP"]
    return issued


def end(commands: list[Command], pim: BankPim) -> float:
    """When the last result is read, and the last row closed where transfers wait for it [s]."""
    ends = (c.time + c.duration for c in commands if not (pim.overlap and c.name == "PRE"))
    return max(ends, default=0.0)


def violations(commands: list[Command], pim: BankPim) -> list[str]:
    """Check commands against the timing; the list says what is broken, where, and by how much.

    Examples
    --------
    >>> from kvlib.nearmemory import gddr6_aim
    >>> aim = gddr6_aim()
    >>> good = trace(aim, 64, 4096, precision="bf16")
    >>> violations(good, aim)
    []
    >>> hasty = [command._replace(time=command.time * 0.99) for command in good]
    >>> print(violations(hasty, aim)[0])
    MAC 0 at 122.8 ns comes 27.7 ns after ACT 0: tRCD is 28 ns
    """
    t = {name: float(value) for name, value in pim.timing.parameters.items()}
    rules = [
        ("MAC", "MAC", "tMAC"), ("ACT", "MAC", "tRCD"), ("MAC", "PRE", "tRTP"),
        ("ACT", "PRE", "tRAS"), ("PRE", "ACT", "tRP"), ("PRE", "REF", "tRP"),
        ("REF", "ACT", "tRFC"), ("REF", "REF", "tRFC"),
    ]  # fmt: skip
    if pim.openings > 1:
        rules.append(("ACT", "ACT", "tFAW"))
    found: list[str] = []
    latest: dict[str, tuple[int, Command]] = {}
    seen: dict[str, int] = {}
    open_row = -1
    for command in commands:
        index = seen.get(command.name, 0)
        seen[command.name] = index + 1
        for before, after, parameter in rules:
            if after != command.name or before not in latest:
                continue
            number, earlier = latest[before]
            gap = command.time - earlier.time
            if gap < t[parameter] * (1 - 1e-9) - 1e-15:
                found.append(
                    f"{after} {index} at {command.time * 1e9:.4g} ns comes {gap * 1e9:.3g} ns "
                    f"after {before} {number}: {parameter} is {t[parameter] * 1e9:g} ns"
                )
        if command.name == "ACT":
            open_row = command.row
        if command.name == "MAC" and command.row != open_row:
            found.append(f"MAC {index} reads row {command.row}, but row {open_row} is open")
        latest[command.name] = (index, command)
    return found
