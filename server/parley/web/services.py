"""What every request and socket of a process shares."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.auth.verifier import Verifier
from parley.clock import Clock
from parley.config import Settings
from parley.engine.node import Node
from parley.identity import Identity
from parley.web.limits import Admission, Buckets
from parley.web.metrics import Metrics

if TYPE_CHECKING:
    from parley.web.socket import SyncSocket


@dataclass(slots=True)
class Services:
    """The parts of a running process.

    Attributes:
        dev_secret: set in development mode only: tokens may be asked for at `/dev/token`.
        sockets: the open sync sockets.
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
    sockets: set[SyncSocket] = field(default_factory=set)
    begin_drain: Callable[[], None] = lambda: None

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
