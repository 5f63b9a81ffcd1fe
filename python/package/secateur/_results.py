"""What a command gives back."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any


class Result(Mapping[str, Any]):
    """Figures by name, as the command's ``--json`` writes them.

    They are there as items and as attributes (``result["ratio"]``, ``result.ratio``), nested ones
    likewise. A notebook shows them as a table.
    """

    def __init__(self, title: str, values: dict[str, Any]) -> None:
        self._title = title
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return _wrapped(key, self._values[key])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            there = ", ".join(self._values)
            raise AttributeError(f"no figure `{name}`; there are {there}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        plain = (
            f"{name}={value!r}"
            for name, value in self._values.items()
            if not isinstance(value, (list, dict))
        )
        return f"<{self._title}: {', '.join(plain)}>"

    def _repr_html_(self) -> str:
        return f"<b>{html.escape(self._title)}</b>{_table(self._values)}"


def _wrapped(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return Result(key, value)
    if isinstance(value, list):
        return [_wrapped(key, item) for item in value]
    return value


def _table(values: dict[str, Any]) -> str:
    rows = (
        f"<tr><th style='text-align:left'>{html.escape(name.replace('_', ' '))}</th>"
        f"<td style='text-align:left'>{_cell(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return _table(value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _rows(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\u202f")
    return html.escape(str(value))


def _rows(items: list[dict[str, Any]]) -> str:
    """One row for each of many alike."""
    names = list(dict.fromkeys(name for item in items for name in item))
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    body = (
        "<tr>"
        + "".join(f"<td>{_cell(item[name]) if name in item else ''}</td>" for name in names)
        + "</tr>"
        for item in items
    )
    return (
        f"<details><summary>{len(items)}</summary>"
        f"<table><tr>{head}</tr>{''.join(body)}</table></details>"
    )
