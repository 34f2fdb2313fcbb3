"""What the app's functions mean, said again over plain rows. Shares no code with the engine.

A row is the JSON of Postgres's `to_jsonb(row)`. A function takes the rows and its arguments and
returns its result; a mutation also returns what it writes, rows without ids and times of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

KEPT = 40
LONGEST_NOTE = 400

Row = dict[str, Any]


class Failure(Exception):
    """A mutation fails."""


@dataclass(frozen=True)
class Write:
    """One row that a mutation changes: `row_id` None for a new one; `fields` None: deleted."""

    table: str
    row_id: str | None
    fields: Mapping[str, Any] | None


# Which column tells rows of a table apart for dependencies; None: the table is looked at as one.
KEY_COLUMN: dict[str, str | None] = {
    "items": "topic",
    "cells": None,
    "accounts": None,
    "notes": "name",
    "secrets": "owner",
    "boards": None,
    "cards": None,
}


class Rows:
    """All rows at one moment, and when each part of them last changed.

    Attributes:
        tables: rows by table and id.
        changed: by (table, key): every ts at which something there changed, ascending.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Row]] = {name: {} for name in KEY_COLUMN}
        self.by_key: dict[tuple[str, Any], dict[str, Row]] = {}
        self.changed: dict[tuple[str, Any], list[int]] = {}

    def fill(self, tables: Mapping[str, Mapping[str, Row]]) -> None:
        """Take rows as they were before anything that is looked at."""
        for table, found in tables.items():
            for row_id, row in found.items():
                self.put(table, row_id, row, 0)

    def part(self, table: str, key: Any = None) -> list[Row]:
        """Return the rows under a key, in no order."""
        return list(self.by_key.get((table, key), {}).values())

    def put(self, table: str, row_id: str, row: Row | None, ts: int) -> Row | None:
        """Replace a row; None deletes. Return what was there."""
        column = KEY_COLUMN[table]
        before = self.tables[table].get(row_id)
        if before == row:
            return before
        self.tables[table].pop(row_id, None)
        if before is not None:
            key = (table, before[column] if column else None)
            self.by_key[key].pop(row_id)
            self._mark(key, ts)
        if row is not None:
            self.tables[table][row_id] = row
            key = (table, row[column] if column else None)
            self.by_key.setdefault(key, {})[row_id] = row
            self._mark(key, ts)
        return before

    def _mark(self, key: tuple[str, Any], ts: int) -> None:
        times = self.changed.setdefault(key, [])
        if not times or times[-1] != ts:
            times.append(ts)


def _micros(text: str) -> int:
    moment = datetime.fromisoformat(text)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + moment.microsecond


def _age(row: Row) -> tuple[int, str]:
    return (_micros(row["creation_time"]), row["id"])


def ordered(rows: Rows, topic: str) -> list[Row]:
    """Return the items of a topic in the order of its index."""
    return sorted(rows.part("items", topic), key=position_of)


def position_of(item: Row) -> tuple[int, int, str]:
    """Return where an item is among those of its topic."""
    return (item["pos"], *_age(item))


def document(item: Row) -> Row:
    """Return an item as functions see it."""
    return {
        "_id": item["id"],
        "_creationTime": _micros(item["creation_time"]) / 1000,
        "topic": item["topic"],
        "pos": item["pos"],
        "value": item["value"],
    }


def _by_name(rows: Rows, table: str, name: Any) -> Row | None:
    key = name if KEY_COLUMN[table] == "name" else None
    found = [row for row in rows.part(table, key) if row["name"] == name]
    return found[0] if found else None


# --- queries: (rows, args, who) -> value


def topic(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """Items of a topic as documents."""
    return [document(row) for row in ordered(rows, args["topic"])]


def tail(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """The last values."""
    return [row["value"] for row in ordered(rows, args["topic"])[::-1][: int(args["count"])]]


def after(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """The first values behind a position."""
    found = [row for row in ordered(rows, args["topic"]) if row["pos"] > args["pos"]]
    return [row["value"] for row in found[: int(args["count"])]]


def ring(rows: Rows, _args: Mapping[str, Any], _who: str) -> Any:
    """Where each cell leads to."""
    return [row["next"] for row in sorted(rows.part("cells"), key=lambda row: row["name"])]


def total(rows: Rows, _args: Mapping[str, Any], _who: str) -> Any:
    """The sum of all balances."""
    return sum(row["balance"] for row in rows.part("accounts"))


def balance(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """One balance."""
    found = _by_name(rows, "accounts", args["name"])
    return None if found is None else found["balance"]


def note(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """A note."""
    found = _by_name(rows, "notes", args["name"])
    return None if found is None else found["content"]


def mine(rows: Rows, _args: Mapping[str, Any], who: str) -> Any:
    """The caller's secrets."""
    return [row["body"] for row in sorted(rows.part("secrets", who), key=_age)]


def board(rows: Rows, args: Mapping[str, Any], _who: str) -> Any:
    """The titles on a board."""
    found = _by_name(rows, "boards", args["name"])
    if found is None:
        return None
    cards = [row for row in rows.part("cards") if row["board_id"] == found["id"]]
    return [row["title"] for row in sorted(cards, key=_age)]


QUERIES: dict[str, Callable[[Rows, Mapping[str, Any], str], Any]] = {
    f"app:{function.__name__}": function
    for function in (topic, tail, after, ring, total, balance, note, mine, board)
}


def depends_on(path: str, args: Mapping[str, Any], who: str) -> list[tuple[str, Any]]:
    """Return the parts of the rows that a query's result can depend on."""
    match path:
        case "app:topic" | "app:tail" | "app:after" | "app:page":
            return [("items", args["topic"])]
        case "app:ring":
            return [("cells", None)]
        case "app:total" | "app:balance":
            return [("accounts", None)]
        case "app:note":
            return [("notes", args["name"])]
        case "app:mine":
            return [("secrets", who)]
        case _:
            return [("boards", None), ("cards", None)]


# --- mutations: (rows, args, who) -> (result, writes)

Outcome = tuple[Any, list[Write]]


def append(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Add to a topic."""
    items = ordered(rows, args["topic"])
    pos = items[-1]["pos"] + 1 if items else 0
    writes = [Write("items", None, {"topic": args["topic"], "pos": pos, "value": args["value"]})]
    dropped = None
    if items and pos - items[0]["pos"] >= KEPT:
        dropped = items[0]["value"]
        writes.append(Write("items", items[0]["id"], None))
    previous = items[-1]["value"] if items else None
    return {"pos": pos, "previous": previous, "dropped": dropped}, writes


def post(rows: Rows, args: Mapping[str, Any], who: str) -> Outcome:
    """Add to a topic, and say what."""
    result, writes = append(rows, args, who)
    return {**result, "value": args["value"]}, writes


def move(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Move between topics."""
    source, target = ordered(rows, args["source"]), ordered(rows, args["target"])
    if not source:
        return None, []
    pos = target[-1]["pos"] + 1 if target else 0
    first = source[0]
    fields = {"topic": args["target"], "pos": pos, "value": first["value"]}
    return first["value"], [Write("items", first["id"], fields)]


def swap(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Turn a part of the ring."""
    cells = {row["name"]: row for row in rows.part("cells")}
    a = cells[args["at"]]
    b = cells[a["next"]]
    c = cells[b["next"]]
    writes = [
        Write("cells", row["id"], {"name": row["name"], "next": following})
        for row, following in ((a, c["name"]), (c, b["name"]), (b, c["next"]))
    ]
    return [a["name"], b["name"], c["name"], c["next"]], writes


def transfer(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Move money."""
    payer = _by_name(rows, "accounts", args["source"])
    payee = _by_name(rows, "accounts", args["target"])
    assert payer is not None
    assert payee is not None
    if payer["balance"] < args["amount"]:
        raise Failure
    left, got = payer["balance"] - args["amount"], payee["balance"] + args["amount"]
    return [left, got], [
        Write("accounts", payer["id"], {"name": payer["name"], "balance": left}),
        Write("accounts", payee["id"], {"name": payee["name"], "balance": got}),
    ]


def audit(rows: Rows, args: Mapping[str, Any], who: str) -> Outcome:
    """Sum all balances."""
    return total(rows, args, who), []


def write(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Add to a note."""
    found = _by_name(rows, "notes", args["name"])
    if found is None:
        return 0, [Write("notes", None, {"name": args["name"], "content": args["chunk"]})]
    before = len(found["content"])
    content = args["chunk"] if before > LONGEST_NOTE else found["content"] + args["chunk"]
    return before, [Write("notes", found["id"], {"name": args["name"], "content": content})]


def keep(rows: Rows, args: Mapping[str, Any], who: str) -> Outcome:
    """Keep a secret."""
    kept = sorted(rows.part("secrets", who), key=_age)
    writes = [Write("secrets", kept[0]["id"], None)] if len(kept) > 8 else []
    return len(kept), [*writes, Write("secrets", None, {"owner": who, "body": args["body"]})]


def pin(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Put a card on a board."""
    found = _by_name(rows, "boards", args["board"])
    if found is None:
        return 0, [
            Write("boards", None, {"name": args["board"]}),
            Write("cards", None, {"board_id": None, "title": args["title"]}),
        ]
    cards = [row for row in rows.part("cards") if row["board_id"] == found["id"]]
    return len(cards), [Write("cards", None, {"board_id": found["id"], "title": args["title"]})]


def clear(rows: Rows, args: Mapping[str, Any], _who: str) -> Outcome:
    """Remove a board and its cards."""
    found = _by_name(rows, "boards", args["board"])
    if found is None:
        return False, []
    cards = [row for row in rows.part("cards") if row["board_id"] == found["id"]]
    return True, [
        Write("boards", found["id"], None),
        *[Write("cards", row["id"], None) for row in cards],
    ]


MUTATIONS: dict[str, Callable[[Rows, Mapping[str, Any], str], Outcome]] = {
    f"app:{function.__name__}": function
    for function in (append, post, move, swap, transfer, audit, write, keep, pin, clear)
}
