"""What clients say, as records: one struct per message type of PROTOCOL.md §3.

Unknown keys are ignored, so `componentPath` and an Event's payload never get past this file. No
error made here quotes what the client sent: it may hold a token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from parley import values
from parley.errors import BadMessage, TooLarge, ValueInvalid

# A value may nest 64 deep (`values.MAX_DEPTH`); somewhat more is left to `values.decode`, which
# fails that one call. Far more is no honest mistake and ends the connection before code recurses.
MAX_ARGS_DEPTH: Final = 72

U32: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
I64: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

if TYPE_CHECKING:
    Args: TypeAlias = dict[str, Any]
    WireTimestamp: TypeAlias = int
else:
    Args = Any  # taken as it comes; `_one_object` makes the dict
    WireTimestamp = str  # `Connect` turns it into the int


class _Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", rename="camel"):
    """Base of everything that is told apart by `type`."""


class Connect(_Message, frozen=True, kw_only=True):
    """The first message on a socket.

    Attributes:
        session_id: lower-case UUID; with a request id, what makes a mutation happen once.
        connection_count: earlier socket opens of this client.
        last_close_reason: why its last socket ended, in words of its own choosing.
        max_observed_timestamp: u64; never serve this client a state older than this.
        client_ts: its clock in ms, None when not told; shifted by any amount, so never validated.
    """

    session_id: str
    connection_count: U32
    last_close_reason: str | None = None
    max_observed_timestamp: WireTimestamp | None = None
    client_ts: I64 | None = None

    def __post_init__(self) -> None:
        """Bring the session id and the timestamp into the form used inside."""
        _set(self, "session_id", _canonical_uuid(self.session_id))
        if self.max_observed_timestamp is not None:
            _set(self, "max_observed_timestamp", _timestamp(self.max_observed_timestamp))


class Authenticate(_Message, frozen=True, kw_only=True):
    """From here on the client speaks as somebody else.

    Attributes:
        base_version: identity version that the client believes in.
        token_type: `User` for a JWT, `Admin` for a deployment key, `None` for signing out.
        token: the secret itself; a str unless `token_type` is `None`. Not part of the repr.
        acting_as: attributes of the user as whom an Admin speaks, not decoded; None is nobody.
    """

    base_version: U32
    token_type: Literal["User", "Admin", "None"]
    token: str | None = msgspec.field(default=None, name="value")
    acting_as: dict[str, Any] | None = msgspec.field(default=None, name="impersonating")
    rust_acting_as: dict[str, Any] | msgspec.UnsetType | None = msgspec.field(
        default=msgspec.UNSET, name="acting_as"
    )

    def __post_init__(self) -> None:
        """Refuse a User or Admin without a token; make one of the two spellings."""
        if self.rust_acting_as is not msgspec.UNSET:
            _set(self, "acting_as", self.acting_as or self.rust_acting_as)
            _set(self, "rust_acting_as", msgspec.UNSET)
        if self.token is None and self.token_type != "None":  # noqa: S105  # a kind, no secret
            raise BadMessage("Authenticate needs a value unless its tokenType is None")

    def __repr__(self) -> str:
        """Return the message without its token."""
        return f"Authenticate(base_version={self.base_version}, token_type={self.token_type!r})"


class Add(_Message, frozen=True, kw_only=True):
    """Subscribe to a query.

    Attributes:
        query_id: the client's name for it, unique on its socket.
        udf_path: as the client wrote it, not canonical (§13.1).
        args: parsed JSON, not decoded.
        journal: what the last run of this query gave out, if the client kept it.
    """

    query_id: U32
    udf_path: str
    args: Args = msgspec.field(default_factory=dict)
    journal: str | None = None

    def __post_init__(self) -> None:
        """Unwrap the arguments."""
        _set(self, "args", _one_object(self.args))


class Remove(_Message, frozen=True, kw_only=True):
    """End a subscription."""

    query_id: U32


class ModifyQuerySet(_Message, frozen=True, kw_only=True):
    """Change what the client is subscribed to, in order, from one version to another."""

    base_version: U32
    new_version: U32
    modifications: list[Add | Remove]


class Mutation(_Message, frozen=True, kw_only=True):
    """Run a mutation.

    Attributes as in `Add`, and `request_id`, one count for mutations and actions together.
    """

    request_id: U32
    udf_path: str
    args: Args = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Unwrap the arguments."""
        _set(self, "args", _one_object(self.args))


class Action(_Message, frozen=True, kw_only=True):
    """Run an action. Attributes as in `Mutation`."""

    request_id: U32
    udf_path: str
    args: Args = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Unwrap the arguments."""
        _set(self, "args", _one_object(self.args))


class Event(_Message, frozen=True, kw_only=True):
    """Telemetry; never answered, never refused. Its payload is dropped unread."""

    event_type: str = ""


ClientMessage: TypeAlias = Connect | Authenticate | ModifyQuerySet | Mutation | Action | Event

_decoder: Final[msgspec.json.Decoder[ClientMessage]] = msgspec.json.Decoder(ClientMessage)
_set: Final = msgspec.structs.force_setattr  # frozen to everyone but `__post_init__`

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def parse(text: str | bytes) -> ClientMessage:
    """Return the message in one text frame.

    Raises:
        BadMessage: not JSON (lone surrogates included), an unknown type, or a field of the wrong
            type or out of range. Says where, never what was there.
        TooLarge: nested deeper than `MAX_ARGS_DEPTH`.
    """
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadMessage(_without_values(str(error))) from None
    except (msgspec.DecodeError, UnicodeError):
        raise BadMessage("The message is not valid JSON in UTF-8") from None
    except RecursionError:
        raise TooLarge("The message is nested too deeply") from None


def _without_values(text: str) -> str:
    """Return msgspec's complaint with its place, but without any value that it quotes.

    Its other complaints ("Invalid value '…'") hold the client's text, perhaps a token.
    """
    complaint, at, place = text.rpartition(" - at ")
    if not (complaint or place).startswith(("Expected ", "Object missing ")):
        complaint = "Expected another value"
    return f"{complaint}{at}{place}"


def _canonical_uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise BadMessage("Expected sessionId to be a UUID")
    return str(UUID(text))


def _timestamp(text: object) -> int:
    try:
        return values.ts_from_wire(str(text))
    except ValueInvalid:
        raise BadMessage("Expected maxObservedTimestamp to be base64 of 8 bytes") from None


def _one_object(args: object) -> dict[str, Any]:
    """Return the arguments: an object, or the only element of an array (JS sends the latter).

    No element at all is no argument, as Convex takes it.
    """
    if isinstance(args, list):
        args = args[0] if len(args) == 1 else {} if not args else None
    if not isinstance(args, dict):
        raise BadMessage("Expected args to be an array with one object")
    if _is_deeper_than(MAX_ARGS_DEPTH, args):
        raise TooLarge(f"The arguments are nested more than {MAX_ARGS_DEPTH} levels deep")
    return args


def _is_deeper_than(limit: int, value: dict[str, Any]) -> bool:
    """Tell whether containers stand in more than `limit` others, level by level: no recursion."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for container in level
            for child in (container.values() if type(container) is dict else container)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True
