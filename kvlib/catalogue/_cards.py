"""Cards: TOML files of quoted figures. A card is data; nothing in it is executed."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from kvlib.catalogue._shelf import CardError, catalogue_names, find, text_of
from kvlib.checks import UnknownName
from kvlib.quoted import BASES, Quoted, Stated
from kvlib.units import check, parse

__all__ = ["CardError", "Figures", "catalogue_names", "find", "load"]

T = TypeVar("T")

_MAX_BYTES, _MAX_LINE, _MAX_DEPTH, _MAX_ENTRIES = 64 * 1024, 2000, 6, 2000
_MAX_TEXT, _MAX_WORD, _MAX_NUMBER = 1500, 80, 1e30
_FIGURE_KEYS = {"value", "unit", "source", "basis", "note", "low", "high"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Figures:
    """One table of a card, read field by field so that a leftover is an unknown key.

    Whatever is taken with its source is also kept in `record`, which all tables of a card share.
    """

    def __init__(
        self,
        path: Path,
        where: str,
        table: Any,
        provenance: Mapping[str, str],
        record: dict[str, Quoted | Stated] | None = None,
    ) -> None:
        self.path, self.where, self.provenance = path, where, provenance
        self.record = {} if record is None else record
        if not isinstance(table, dict):
            raise self.error(
                "", f"is {repr(table)[:_MAX_WORD]}, but a table is needed here: write [{where}]"
            )
        self.table: dict[str, Any] = dict(table)

    def place(self, key: str) -> str:
        """Return where a field stands on the card, such as ``"memory.hbm.capacity"``."""
        return ".".join(part for part in (self.where, key) if part)

    def error(self, key: str, rule: str) -> CardError:
        """Build an error that says where it is."""
        return CardError(f"{self.path}: {self.place(key) or 'card'} {rule.rstrip('.')}.")

    def text(self, key: str, default: str | None = None) -> str:
        """Take a string that needs no source, such as a title."""
        value = self.table.pop(key, default)
        if value is None:
            raise self.error(key, f'is missing: write {key} = "..."')
        return self._line(key, value, _MAX_TEXT)

    def _line(self, key: str, value: Any, longest: int) -> str:
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            rule = f"must be a string in quotes, one line of at most {longest} printable characters"
            raise self.error(key, rule)
        return value

    def day(self, key: str) -> date | None:
        """Take a date, or None if it is not there."""
        value = self.table.pop(key, None)
        if value is not None and type(value) is not date:
            raise self.error(key, "must be a date without quotes: write it as 2026-01-31")
        return value

    def figure(self, key: str, dimension: str | None, *, zero: bool = True) -> Quoted | None:
        """Take a quoted figure of a dimension (None: of any), or None if it is not there."""
        if key not in self.table:
            return None
        entry = self._entry(key)
        numbers = {
            name: self._number(key, name, entry[name], zero)
            for name in ("value", "low", "high")
            if name in entry
        }
        unit = entry.get("unit", "1" if dimension == "1" else None)
        if unit is None:
            raise self.error(
                key, 'has no unit: add unit = "..." (GB, TB/s, TFLOP/s, ns, W, 1, ...)'
            )
        self._line(f"{key}.unit", unit, _MAX_WORD)
        try:
            factor = parse(unit)[0] if dimension is None else check(unit, dimension)
            scaled = {name: number * factor for name, number in numbers.items()}
            figure = Quoted(
                scaled["value"],
                unit=unit,
                low=scaled.get("low"),
                high=scaled.get("high"),
                **self._origin(key, entry),
            )
        except CardError:
            raise
        except ValueError as problem:
            raise self.error(key, f"is wrong: {problem}") from None
        self.record[self.place(key)] = figure
        return figure

    def _entry(self, key: str) -> dict[str, Any]:
        """Take an entry as a table; a bare value is one that the card's provenance covers."""
        entry = self.table.pop(key)
        if not isinstance(entry, dict):
            return {"value": entry}
        if unknown := sorted(set(entry) - _FIGURE_KEYS):
            known = ", ".join(sorted(_FIGURE_KEYS))
            raise self.error(
                key,
                f"has unknown keys {', '.join(unknown)}: correct or remove them; known: {known}",
            )
        if "value" not in entry:
            raise self.error(key, "has no value: write { value = ..., source = ..., basis = ... }")
        return entry

    def _number(self, key: str, name: str, number: Any, zero: bool) -> float:
        if isinstance(number, bool) or not isinstance(number, int | float):
            shown = repr(number)[:_MAX_WORD]
            raise self.error(key, f"has {name} = {shown}, but a number without quotes is needed")
        if not -_MAX_NUMBER < number < _MAX_NUMBER:
            raise self.error(
                key,
                f"has a {name} that is not a finite number below {_MAX_NUMBER:g}: "
                f"quote what the source prints, or leave the figure out",
            )
        if number < 0 or (number == 0 and not zero):
            rule = "must not be negative" if zero else "must be above zero"
            raise self.error(
                key, f"has {name} = {number!r}, which {rule}: check it, or leave the figure out"
            )
        return float(number)

    def _origin(self, key: str, entry: Mapping[str, Any]) -> dict[str, Any]:
        source = entry.get("source", self.provenance.get("source", ""))
        basis = entry.get("basis", self.provenance.get("basis", ""))
        if not source:
            raise self.error(key, 'has no source: add source = "<bibliography key>"')
        if not basis:
            raise self.error(key, f"has no basis: add basis = one of {', '.join(BASES)}")
        if basis not in BASES:
            raise self.error(key, f"has basis {basis!r}: choose one of {', '.join(BASES)}")
        return {
            "source": self._line(f"{key}.source", source, _MAX_WORD),
            "basis": basis,
            "note": self._line(f"{key}.note", entry.get("note", ""), _MAX_TEXT),
        }

    def count(self, key: str, default: int | None = None, *, zero: bool = True) -> int | None:
        """Take a whole number."""
        figure = self.figure(key, "1", zero=zero)
        if figure is None:
            return default
        if not figure.is_integer() or figure > 1e15:
            raise self.error(
                key, f"= {float(figure):g} must be a whole number: it counts things, correct it"
            )
        return int(figure)

    def needed(self, key: str, *, zero: bool = False) -> int:
        """Take a whole number that must be there."""
        found = self.count(key, zero=zero)
        if found is None:
            raise self.error(key, f"is missing: this count is needed, add {key} = ...")
        return found

    def flag(self, key: str, default: bool | None = None) -> bool:
        """Take true or false, with its source."""
        return bool(self._stated(key, default, bool, "true or false, without quotes"))

    def word(self, key: str, default: str | None = None) -> str:
        """Take a word, with its source."""
        return self._line(key, self._stated(key, default, str, "a word in quotes"), _MAX_WORD)

    def _stated(self, key: str, default: Any, kind: type[bool] | type[str], rule: str) -> Any:
        if key not in self.table and default is not None:
            return default
        if key not in self.table:
            raise self.error(key, f"is missing: add {key} = {rule}")
        entry = self._entry(key)
        value = entry["value"]
        if not isinstance(value, kind):
            raise self.error(key, f"= {repr(value)[:_MAX_WORD]} must be {rule}")
        self.record[self.place(key)] = Stated(value, **self._origin(key, entry))
        return value

    def map(
        self, key: str, dimension: str | None, *, zero: bool = True
    ) -> dict[str, Quoted] | None:
        """Take a table of figures, or None if it is not there."""
        if key not in self.table:
            return None
        inner = self.section(key)
        names = [inner.named(name) for name in inner.table]
        return {name: inner.figure(name, dimension, zero=zero) for name in names}  # type: ignore[misc]

    def sections(self, key: str) -> Iterator[tuple[str, "Figures"]]:
        """Take named sub-tables, such as ``[memory.hbm]``."""
        outer = self.section(key)
        for name in list(outer.table):
            yield outer.named(name), outer.section(name)

    def section(self, key: str) -> "Figures":
        """Take one sub-table, empty if it is not there."""
        table = self.table.pop(key, {})
        return Figures(self.path, self.place(key), table, self.provenance, self.record)

    def named(self, name: str) -> str:
        """Return a name that the card gives itself, if it is a plain one."""
        if not _NAME.fullmatch(name):
            raise self.error(
                "",
                f"has a name {name[:80]!r}: use at most 64 letters, digits, hyphens, underscores",
            )
        return name

    def close(self, known: str) -> None:
        """Complain about whatever was not taken."""
        if self.table:
            left = ", ".join(sorted(self.table))[:_MAX_TEXT]
            rule = f"has unknown keys: {left}. Correct or remove them. Known here: {known}"
            raise self.error("", rule)


def load(path: Path, build: Callable[[Figures], T]) -> T:
    """Read a card and build what it describes.

    Raises
    ------
    CardError
        If the card cannot be read, or what it says cannot be.
    """
    card = _read(path)
    try:
        return build(card)
    except CardError:
        raise
    except (ValueError, TypeError, UnknownName) as problem:
        raise CardError(f"{path}: {problem}") from None


def _read(path: Path) -> Figures:
    """Read a card's top table.

    Raises
    ------
    CardError
        If the file cannot be read, is too large, is not TOML, or is nested or filled beyond reason.
    """
    try:
        table = tomllib.loads(text_of(path, _MAX_BYTES, _MAX_LINE))
    except CardError:
        raise
    except (ValueError, RecursionError) as problem:
        raise CardError(
            f"{path}: is not valid TOML: {problem}. A name may be given once; strings need quotes; "
            f"a cut-off file must be fetched again."
        ) from None
    _bounded(path, table)
    provenance = table.pop("provenance", {})
    if not isinstance(provenance, dict) or set(provenance) - {"source", "basis"}:
        raise CardError(
            f"{path}: provenance may hold source and basis only. Remove what else it has."
        )
    return Figures(path, "", table, provenance)


def _bounded(path: Path, table: Any) -> None:
    """Raise if a card is nested too deeply or holds too many entries."""
    entries, level = 0, [table]
    for _ in range(_MAX_DEPTH):
        inner = [list(each.values()) if isinstance(each, dict) else each for each in level]
        below = [value for values in inner for value in values]
        entries += len(below)
        level = [value for value in below if isinstance(value, dict | list)]
    if level:
        raise CardError(f"{path}: is nested deeper than {_MAX_DEPTH} levels. A card needs four.")
    if entries > _MAX_ENTRIES:
        raise CardError(
            f"{path}: holds {entries} entries; a card may hold {_MAX_ENTRIES}. Split it."
        )
