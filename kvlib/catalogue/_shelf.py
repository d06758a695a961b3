"""Where cards stand, and how the text of a file that a stranger may have written is taken."""

import re
import stat
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from kvlib.checks import choose

__all__ = ["CardError", "catalogue_names", "find", "text_of"]


class CardError(ValueError):
    """A card that cannot be read; the message names file, field, rule and remedy."""


def text_of(path: Path, largest: int, longest: int | None = None) -> str:
    """Text of a file from a stranger: a regular file of bounded size, in UTF-8.

    Raises
    ------
    CardError
        If there is no such file, it is no regular file, holds more than `largest` bytes or a line
        of more than `longest` characters, or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CardError(f"{path}: is not a file. Give the path of the card itself.")
        with path.open("rb") as file:
            content = file.read(largest + 1)
        text = content.decode("utf-8")
    except OSError as problem:
        raise CardError(f"{path}: cannot be read ({problem.strerror}). Check the path.") from None
    except UnicodeDecodeError:
        raise CardError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None
    except CardError:
        raise
    except ValueError as problem:  # a path with a NUL in it
        raise CardError(f"{path!s:.200}: cannot be read ({problem}). Check the path.") from None
    if len(content) > largest:
        raise CardError(f"{path}: holds more than {largest} bytes. Take out what is not a figure.")
    if longest and any(len(line) > longest for line in text.splitlines()):
        raise CardError(f"{path}: a line is longer than {longest} characters. Break it up.")
    return text


_DATED = re.compile(r"(?P<name>.+)@\d{4}-\d{2}-\d{2}")


@cache
def catalogue_names(shelf: str) -> dict[str, Path]:
    """Cards of a shelf (``"devices"``, ``"models"``) by name, sorted.

    A correction is a sibling ``name@YYYY-MM-DD.toml``; the bare name means the newest.
    """
    folder = Path(str(files("kvlib.catalogue"))) / shelf
    cards: dict[str, Path] = {}
    for path in sorted(folder.glob("*.toml"), key=lambda path: path.stem):
        cards[path.stem] = path
        if dated := _DATED.fullmatch(path.stem):
            cards[dated["name"]] = path
    return cards


def find(name: Any, shelf: str, what: str) -> Path:
    """Return the card called `name`: in full, or by a beginning that only one card has.

    Raises
    ------
    UnknownName
        If no card, or more than one, is meant.
    """
    cards = catalogue_names(shelf)
    wanted = str(name).strip().lower().replace("_", "-").replace(" ", "-")
    starting = {cards[card]: card for card in cards if card.startswith(wanted)} if wanted else {}
    if wanted not in cards and len(starting) == 1:
        return next(iter(starting))
    if wanted not in cards and starting:
        return cards[choose(name, starting.values(), what)]
    return cards[wanted if wanted in cards else choose(name, cards, what)]
