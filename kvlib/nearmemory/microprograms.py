r"""Arithmetic out of majorities: the command sequences of bit-serial operations.

Numbers stand upright: bit i of all of them lies in one row, least significant first, and every
bitline is a lane. A program walks over the bits and issues commands; all lanes follow. The two
identities behind most of it, with M for the majority of three:

.. math::
    \text{carry} &= M(a, b, c) \\
    a \oplus b \oplus c &= M(\overline{M(a, b, c)},\; a,\; M(\bar a, b, c))

Every program here was written for this book. It issues as many commands as the microprogram that
the authors of SIMDRAM published for the same operation :cite:`mimdram2024repo`; `divide` alone
needs fewer. Some end by copying the result out of the working rows: there the last AP could be an
AAP that does both, one command less than the published count.
"""

from collections.abc import Sequence

from kvlib.nearmemory.subarray import Subarray

__all__ = [
    "absolute", "add", "bit_count", "compare", "divide", "equal", "extremum", "multiply", "reduce",
    "relu", "select", "subtract",
]  # fmt: skip

Rows = Sequence[int]

# The sum of a, b and the carry in DCC0, which ends as the next carry.
_FULL_ADDER = "AAP B4 B0, AAP a B9, {b}AP B14, AP B15, AAP B4 B7, AAP a B3, AAP B15 out"
_ADD = _FULL_ADDER.format(b="AAP b B10, ")
# a AND b by an AP that leaves it in T2 and T3, where the adder looks for its second addend.
_MULTIPLY_ADD = "AAP x B1, AAP y B2, AAP C0 B3, AP B13, " + _FULL_ADDER.format(b="")
# The difference a - b - borrow; the borrow in DCC0 becomes the next one.
_SUBTRACT = "AAP B4 B0, AAP a B9, AAP b B10, AP B15, AAP B14 B7, AAP B0 B4, AAP a B3, AAP B15 out"
_AND = "AAP a B0, AAP b B1, AAP C0 B2, AAP B12 out"
_XOR = "AAP a B8, AAP b B9, AAP C0 B10, AP B14, AP B15, AAP C1 B2, AAP B12 out"
# T2 keeps M(a, NOT b, old T2): is a above b, given the bits so far?
_ABOVE = "AAP b B5, AAP a B1, AP B14"
# T2 keeps "a is not below b", T3 "b is not below a", for the bits so far.
_NEITHER_BELOW = "AAP a B9, AAP b B8, AP B14, AP B15"
# M(NOT s AND b, s OR b, a): a where s is one, else b.
_SELECT = "AAP C0 B9, AAP s B8, AAP b B10, AP B14, AP B15, AAP a B1, AAP B12 out"

# Two adders that write their carry to a row and leave the sum in T0: of two bits, and of two more.
_COUNT_FIRST = "AAP a B3, AAP b B8, AAP C1 B9, AAP B15 carry, AAP a B10, AAP B7 B0, AAP B14 B7, "
_COUNT = "AAP B0 B4, AAP a B9, AAP b B10, AP B15, AAP B14 carry, AAP B4 B7, AAP a B3, "


def add(array: Subarray, a: Rows, b: Rows, out: Rows) -> None:
    """Sum of two numbers, modulo 2 to the number of bits."""
    array.run("AAP C0 B4")
    for a_bit, b_bit, bit in zip(a, b, out, strict=True):
        array.run(_ADD, a=a_bit, b=b_bit, out=bit)


def subtract(array: Subarray, a: Rows, b: Rows, out: Rows) -> None:
    """Difference a - b, modulo 2 to the number of bits; the last borrow stays in DCC0."""
    array.run("AAP C0 B4")
    for a_bit, b_bit, bit in zip(a, b, out, strict=True):
        array.run(_SUBTRACT, a=a_bit, b=b_bit, out=bit)


def multiply(array: Subarray, a: Rows, b: Rows, out: Rows) -> None:
    """Product of two unsigned numbers, twice as wide: b times a one bit of b after the other."""
    bits = len(a)
    for a_bit, bit in zip(a, out, strict=False):
        array.run(_AND, a=a_bit, b=b[0], out=bit)
    array.run("AAP C0 out", out=out[bits])
    for shift in range(1, bits):
        array.run("AAP C0 B4")
        for a_bit, bit in zip(a, out[shift:], strict=False):
            array.run(_MULTIPLY_ADD, x=a_bit, y=b[shift], a=bit, out=bit)
        array.run("AAP B4 out", out=out[shift + bits])


def divide(
    array: Subarray, a: Rows, b: Rows, quotient: Rows, remainder: Rows, scratch: Rows
) -> None:
    """Quotient and remainder of two unsigned numbers, restoring.

    The k-th remainder has only k bits. Whether the divisor has a one above them is read from rows
    that hold the OR of its upper bits, so nothing is subtracted that must be zero. A divisor of
    zero gives a quotient of all ones and the dividend as remainder.

    `scratch` needs 2n rows: n of the OR and n of every other remainder.
    """
    bits = len(a)
    above = [*scratch[: bits - 2], b[bits - 1]]  # above[k - 1]: a one in the divisor from bit k on
    if bits > 2:
        array.run("AAP top B0", top=b[bits - 1])
    for bit in range(bits - 2, 0, -1):
        array.run("AAP b B1, AAP C1 B2, AAP B12 out", b=b[bit], out=above[bit - 1])
    buffers = (remainder, scratch[bits:]) if bits % 2 else (scratch[bits:], remainder)
    current: list[int] = []
    for width in range(1, bits + 1):
        current = [a[bits - width], *current]
        trial = buffers[(width - 1) % 2][:width]
        subtract(array, current, b[:width], trial)
        if width < bits:
            array.run("AAP C1 B1, AAP above B2, AP B14", above=above[width - 1])
        fits = quotient[bits - width]
        array.run("AAP B5 out", out=fits)
        for kept, tried in zip(current, trial, strict=True):
            array.run(_SELECT, s=fits, a=tried, b=kept, out=tried)
        current = list(trial)


def compare(
    array: Subarray, a: Rows, b: Rows, out: int, *, or_equal: bool, signed: bool = False
) -> None:
    """Whether a > b, or a >= b: the chain starts from no or from yes, the highest bit decides."""
    array.run("AAP C1 B2" if or_equal else "AAP C0 B2")
    pairs = list(zip(a, b, strict=True))
    if signed:  # a set sign bit makes a number smaller, so the two change places
        pairs[-1] = pairs[-1][::-1]
    for a_bit, b_bit in pairs:
        array.run(_ABOVE, a=a_bit, b=b_bit)
    array.run("AAP B2 out", out=out)


def equal(array: Subarray, a: Rows, b: Rows, out: int) -> None:
    """Whether a = b: neither is below the other."""
    array.run("AAP C1 B10")
    for a_bit, b_bit in zip(a, b, strict=True):
        array.run(_NEITHER_BELOW, a=a_bit, b=b_bit)
    array.run("AAP C0 B1, AAP B13 out", out=out)


def select(array: Subarray, chosen: int, a: Rows, b: Rows, out: Rows) -> None:
    """If-then-else: a in the lanes where the row `chosen` is one, else b."""
    for a_bit, b_bit, bit in zip(a, b, out, strict=True):
        array.run(_SELECT, s=chosen, a=a_bit, b=b_bit, out=bit)


def extremum(
    array: Subarray,
    a: Rows,
    b: Rows,
    out: Rows,
    scratch: int,
    *,
    largest: bool,
    signed: bool = False,
) -> None:
    """Larger or smaller of two numbers: a comparison, then a selection."""
    compare(array, a, b, scratch, or_equal=False, signed=signed)
    first, second = (a, b) if largest else (b, a)
    select(array, scratch, first, second, out)


def relu(array: Subarray, a: Rows, out: Rows, scratch: int) -> None:
    """Zero for a negative number, else the number: two bits at a time share their constants."""
    array.run("AAP sign B5, AAP B4 keep", sign=a[-1], keep=scratch)
    below = len(a) - 1
    for bit in range(0, below - 1, 2):
        array.run(
            "AAP C0 B12, AAP keep B10, AAP low B4, AAP high B6, AAP B14 out, AAP B15 next",
            keep=scratch, low=a[bit], high=a[bit + 1], out=out[bit], next=out[bit + 1],
        )  # fmt: skip
    if below % 2:
        array.run(_AND, a=a[below - 1], b=scratch, out=out[below - 1])
    array.run("AAP C0 out", out=out[-1])


def absolute(array: Subarray, a: Rows, out: Rows, scratch: Rows) -> None:
    r"""Absolute value, modulo 2 to the number of bits; `scratch` needs two rows.

    A negative number is inverted above its lowest one. With s the sign and t "a one below, and
    negative", :math:`\text{out} = a \oplus t` and :math:`t \leftarrow M(\text{out}, s, t)`.
    The two scratch rows are set up by one AAP each; reading the sign where it lies and a constant
    at the lowest bit would spare both.
    """
    seen, sign = scratch[:2]
    array.run("AAP C0 seen, AAP a sign", seen=seen, a=a[-1], sign=sign)
    for a_bit, bit in zip(a, out, strict=True):
        array.run(_XOR, a=a_bit, b=seen, out=bit)
        if bit != out[-1]:
            array.run("AAP sign B1, AAP seen B2, AAP B12 seen", sign=sign, seen=seen)


def bit_count(array: Subarray, a: Rows, out: Rows, scratch: Rows) -> None:
    """How many of a's bits are one: adders reduce the bits of each weight to one.

    Between two adders the running sum stays in T0. `scratch` needs as many rows as `a`.
    """
    weights, level = list(a), 0
    while True:
        pairs = list(zip(weights[::2], weights[1::2], strict=False))
        carries = list(scratch[: len(pairs)]) if len(pairs) > 1 else [*out[level + 1 :]][:1]
        scratch = scratch[len(carries) :]
        alone = len(weights) % 2
        if alone:
            array.run("AAP a B0", a=weights[-1])
        for position, (a_bit, b_bit) in enumerate(pairs):
            adder = _COUNT if alone or position else _COUNT_FIRST
            last = "AAP B15 out" if position == len(pairs) - 1 else "AP B15"
            array.run(adder + last, a=a_bit, b=b_bit, carry=carries[position], out=out[level])
        if not pairs:
            array.run("AAP B0 out", out=out[level])
        if len(pairs) < 2:
            return
        weights, level = carries, level + 1


def reduce(array: Subarray, operation: str, rows: Rows, out: int) -> None:
    """AND, OR or XOR of many rows, lane by lane, two rows at a time."""
    if operation == "xor":
        _reduce_xor(array, rows, out)
        return
    start, fill = ("C1", "C0") if operation == "and" else ("C0", "C1")
    array.run(f"AAP {start} B0")
    for a, b in zip(rows[::2], rows[1::2], strict=False):
        array.run(f"AAP {fill} B10, AAP a B1, AAP b B6, AP B12, AP B15", a=a, b=b)
    if len(rows) % 2:
        array.run(f"AAP {fill} B2, AAP a B1, AP B12", a=rows[-1])
    array.run("AAP B0 out", out=out)


def _reduce_xor(array: Subarray, rows: Rows, out: int) -> None:
    """Parity in DCC0, T1 and T2; each pair of rows leaves it complemented."""
    odd = len(rows) % 2
    array.run("AAP a B14", a=rows[0]) if odd else array.run("AAP C0 B14")
    pairs = list(zip(rows[odd::2], rows[odd + 1 :: 2], strict=True))
    for a, b in pairs:
        array.run("AAP a B9, AAP B5 B3, AAP b B8, AP B12, AAP B15 B1, AP B14", a=a, b=b)
    array.run("AAP B5 out" if len(pairs) % 2 else "AAP B4 out", out=out)
