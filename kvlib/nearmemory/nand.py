"""A plane of NAND flash that computes while it is read.

A string conducts only if all its selected cells conduct: sensing several wordlines of a block
gives their AND. Strings of several blocks hang on one bitline, which discharges if any of them
conducts: sensing several blocks gives the OR of their ANDs. Reading the complement gives NAND and
NOR, and pages that are stored complemented turn the AND of many into their OR
:cite:`park2022flashcosmos`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import whole

__all__ = ["Plane"]


@dataclass(eq=False)
class Plane:
    """Blocks of NAND strings that share one set of bitlines and page buffers.

    Parameters
    ----------
    blocks, wordlines, bitlines : int
        Blocks, pages in each, and bits in a page.
    most_blocks : int
        Blocks the power budget allows to sense at once.

    Attributes
    ----------
    senses : list of (int, int)
        Wordlines and blocks of every sensing so far.
    programs, erases : int
        Pages written and blocks erased so far.

    Examples
    --------
    >>> plane = Plane(blocks=2, wordlines=4, bitlines=8, most_blocks=2)
    >>> plane.program(0, 0, [1, 1, 0, 0, 1, 1, 0, 0])
    >>> plane.program(0, 1, [1, 0, 1, 0, 1, 0, 1, 0])
    >>> plane.program(1, 0, [0, 0, 0, 1, 0, 0, 0, 0])
    >>> plane.sense({0: [0, 1], 1: [0]})
    array([1, 0, 0, 1, 1, 0, 0, 0], dtype=uint8)
    """

    blocks: int
    wordlines: int
    bitlines: int
    most_blocks: int
    senses: list[tuple[int, int]] = field(default_factory=list, repr=False)
    programs: int = 0
    erases: int = 0

    def __post_init__(self) -> None:
        whole(blocks=self.blocks, wordlines=self.wordlines, bitlines=self.bitlines)
        whole(most_blocks=self.most_blocks)
        self._cells = np.ones((self.blocks, self.wordlines, self.bitlines), bool)
        self._written = np.zeros((self.blocks, self.wordlines), bool)

    def _check(self, block: int, wordline: int) -> None:
        if not (0 <= block < self.blocks and 0 <= wordline < self.wordlines):
            raise ValueError(
                f"page {wordline} of block {block} does not exist: this plane has {self.blocks} "
                f"blocks of {self.wordlines} wordlines."
            )

    def program(self, block: int, wordline: int, bits: ArrayLike) -> None:
        """Write an erased page; a zero stores charge, so that the cell does not conduct.

        Raises
        ------
        ValueError
            If the page is not erased, does not exist, or the bits do not fill it.
        """
        self._check(block, wordline)
        given = np.asarray(bits)
        if given.shape != (self.bitlines,):
            raise ValueError(f"{given.shape} bits for a page of {self.bitlines}: give one each.")
        if self._written[block, wordline]:
            raise ValueError(
                f"page {wordline} of block {block} is already written. Flash cannot overwrite: "
                f"erase the whole block first."
            )
        self._cells[block, wordline] = given.astype(bool)
        self._written[block, wordline] = True
        self.programs += 1

    def erase(self, block: int) -> None:
        """Set every cell of a block to one; each time wears it."""
        self._check(block, 0)
        self._cells[block] = True
        self._written[block] = False
        self.erases += 1

    def sense(
        self, pages: Mapping[int, Sequence[int]], *, inverse: bool = False
    ) -> NDArray[np.uint8]:
        """Sense wordlines of one or more blocks at once: OR over the blocks of AND within each.

        Parameters
        ----------
        pages : mapping of int to sequence of int
            Wordlines of each block.
        inverse : bool
            Whether to read the complement.

        Raises
        ------
        ValueError
            If a block is given more operands than it has wordlines, one twice or none, or more
            blocks are given than the power budget allows.
        """
        if not 1 <= len(pages) <= self.most_blocks:
            raise ValueError(
                f"{len(pages)} blocks sensed at once, but the power budget allows "
                f"{self.most_blocks}. Sense in turns and combine in the page buffer."
            )
        for block, wordlines in pages.items():
            if not 1 <= len(set(wordlines)) == len(wordlines) <= self.wordlines:
                raise ValueError(
                    f"{len(wordlines)} operands in block {block}, whose strings have "
                    f"{self.wordlines} wordlines. Give each at most once, and the rest in another "
                    f"sensing."
                )
            for wordline in wordlines:
                self._check(block, wordline)
        conducts = [self._cells[block, list(lines)].all(axis=0) for block, lines in pages.items()]
        self.senses.append((max(len(lines) for lines in pages.values()), len(pages)))
        discharged: NDArray[np.uint8] = np.any(conducts, axis=0).astype(np.uint8)
        return discharged ^ np.uint8(inverse)

    def exclusive_or(self, first: tuple[int, int], second: tuple[int, int]) -> NDArray[np.uint8]:
        """XOR of two pages (block, wordline): two sensings, combined in the page buffer."""
        buffered = self.sense({first[0]: [first[1]]})
        return np.bitwise_xor(buffered, self.sense({second[0]: [second[1]]}))
