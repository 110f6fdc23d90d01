"""HTML as it is built: whatever is no `Markup` is escaped, so that no name or output of a guest becomes markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """An element. A trailing `_` of an attribute's name is dropped (`class_`), other `_` become `-`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """The children one after the other, escaped where they are no markup."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children))


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> Markup:
    """A table that scrolls by itself where the page is narrow; its last `numbers` columns are aligned right."""
    first = len(header) - numbers
    kind = ["n" if at >= first else "" for at in range(len(header))]

    def cell(name: str, at: int, child: str, **scope: str) -> Markup:
        return tag(name, child, **scope, **({"class_": kind[at]} if kind[at] else {}))

    head = tag("tr", *(cell("th", at, text, scope="col") for at, text in enumerate(header)))
    body = [
        tag(
            "tr",
            *(cell("th", at, c, scope="row") if not at else cell("td", at, c) for at, c in enumerate(row)),
        )
        for row in rows
    ]
    whole = tag("table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)
