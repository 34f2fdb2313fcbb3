"""What every request and socket of a process shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley.auth.verifier import Verifier
from parley.clock import Clock
from parley.config import Settings
from parley.engine.node import Node
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
