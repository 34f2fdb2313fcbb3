"""What every request and socket of a process shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from parley.auth.verifier import Verifier
from parley.clock import Clock
from parley.config import Settings
from parley.engine.node import Node
from parley.errors import ParleyError
from parley.identity import Identity
from parley.web.limits import Admission, Buckets
from parley.web.metrics import Metrics
from parley.web.writer import Outlet


class Socket(Protocol):
    """What a shutdown asks of an open sync socket."""

    @property
    def has_output(self) -> bool:
        """Whether frames wait to be sent."""
        ...

    def end(self, error: ParleyError) -> None:
        """End the connection as `error` asks for, soon."""
        ...


@dataclass(slots=True)
class Services:
    """The parts of a running process.

    Attributes:
        dev_secret: set in development mode only: tokens may be asked for at `/dev/token`.
        sockets: the open sync sockets.
        outlet: those that have something to write.
        has_failed: the engine cannot go on; the process ends, and not as if all were well.
        begin_drain: start to finish what was taken and to end every socket; once.
    """

    settings: Settings
    clock: Clock
    node: Node
    verifier: Verifier
    admission: Admission
    verifications: Buckets
    metrics: Metrics
    redact_errors: bool
    dev_secret: str | None = None
    has_failed: bool = False
    sockets: set[Socket] = field(default_factory=set)
    begin_drain: Callable[[], None] = lambda: None
    outlet: Outlet = field(init=False)

    def __post_init__(self) -> None:
        self.outlet = Outlet(self.clock, self.node.has_room)

    def lets_in(self, origin: str | None) -> bool:
        """Tell whether a page of this origin may be here; None is a program, or our own page."""
        allowed = self.settings.allowed_origins
        return not allowed or origin is None or origin.lower() in allowed

    async def identify(self, token: str, address: str) -> Identity | None:
        """Return whom a token names, after all that signing in brings about.

        Waits for its turn first: checking signatures is work that anybody could ask for.

        Raises:
            AuthRejected: the token proves nothing.
            Unavailable: too many tokens from this address, or the app's own part cannot be done.
        """
        wait_s = self.verifications.take(address, self.clock.monotonic())
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        identity = await self.verifier.verify(token)
        await self.node.signed_in(identity)
        return identity
