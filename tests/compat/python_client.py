"""PyPI's `convex`, driven by a test over standard input and output, as `js/clients.mjs` is.

A process of its own, because that client blocks: one command runs after the other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from convex import ConvexClient, ConvexError, QuerySubscription, convex_to_json, json_to_convex
from convex.http_client import ConvexHttpClient

clients: dict[str, ConvexClient] = {}
subscriptions: dict[str, QuerySubscription] = {}


def open_client(name: str, url: str) -> None:
    """Connect."""
    clients[name] = ConvexClient(url)


def set_auth(name: str, token: str | None) -> None:
    """Sign in, or out."""
    clients[name].set_auth(token)  # type: ignore[arg-type]  # None is documented


def call(name: str, kind: str, path: str, args: Any) -> Any:
    """Run a query, mutation or action."""
    return encoded(getattr(clients[name], kind)(path, json_to_convex(args)))


def call_http(url: str, token: str | None, kind: str, path: str, args: Any) -> Any:
    """Run a query, mutation or action over HTTP."""
    client = ConvexHttpClient(url)
    if token:
        client.set_auth(token)
    return encoded(getattr(client, kind)(path, json_to_convex(args)))


def subscribe(name: str, subscription: str, path: str, args: Any) -> None:
    """Begin to watch a query."""
    decoded: Any = json_to_convex(args)
    subscriptions[subscription] = clients[name].subscribe(path, decoded)


def next_value(subscription: str) -> Any:
    """Wait for the next value of a subscription."""
    return encoded(next(subscriptions[subscription]))


def unsubscribe(subscription: str) -> None:
    """Stop watching."""
    subscriptions[subscription].unsubscribe()


def encoded(value: Any) -> Any:
    """Return wire JSON."""
    return convex_to_json(value)


COMMANDS: dict[str, Callable[..., Any]] = {
    "open": open_client,
    "setAuth": set_auth,
    "call": call,
    "http": call_http,
    "subscribe": subscribe,
    "next": next_value,
    "unsubscribe": unsubscribe,
}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """Run one command."""
    try:
        return {"id": message["id"], "value": COMMANDS[message["command"]](*message["args"])}
    except ConvexError as error:
        failure = {"message": str(error), "data": encoded(error.data)}
    except Exception as error:  # the test asks what the client throws, whatever it is
        failure = {"message": f"{type(error).__name__}: {error}"}
    return {"id": message["id"], "error": failure}


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        # As this client sends them: every number is a float.
        sys.stdout.write(json.dumps(answer(json.loads(line, parse_int=float))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
