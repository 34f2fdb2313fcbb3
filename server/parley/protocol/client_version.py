"""Which client is on the other end, and what it can do (PROTOCOL.md §1.1, §1.2, §9).

npm clients say it in the URL's path, all others in the `Convex-Client` header, some not at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple
from urllib.parse import parse_qs

MAX_VERSION_TEXT: Final = 256  # characters looked at; no client's name and version come near
_MAX_QUERY_FIELDS: Final = 20

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_PRERELEASE_PART: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-({_PRERELEASE_PART}(?:\.{_PRERELEASE_PART})*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


class Version(NamedTuple):
    """A semantic version, comparable with any *release*: a pre-release stands below its release."""

    major: int
    minor: int
    patch: int
    is_release: bool = True


CHUNKS_SINCE: Final = Version(1, 28, 0)

# The newest version of each client that is too old to be served.
UNSUPPORTED_UP_TO: Final = {
    "npm": Version(0, 19, 1),
    "python": Version(0, 0, 2),
    "python-convex": Version(0, 0, 2),
    "rust": Version(0, 0, 1),
}


class Refusal(NamedTuple):
    """Why a client is turned away before the upgrade: HTTP 400 with this code and message."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ClientVersion:
    """A client as it introduced itself.

    Attributes:
        name: `npm`, `python`, `rust`, `swift`, …, or `unknown`; the client chose it, so escape it.
        version: None where it gave none that can be read.
        is_parley: whether it asked for Parley's own extensions, by `?parley=1`.
    """

    name: str = "unknown"
    version: Version | None = None
    is_parley: bool = False

    @property
    def supports_chunks(self) -> bool:
        """Whether it understands TransitionChunk; only npm from 1.28.0 on does."""
        return self.name == "npm" and self.version is not None and self.version >= CHUNKS_SINCE

    @property
    def is_supported(self) -> bool:
        """Whether it is new enough; nothing is known against a client of no known version."""
        newest = UNSUPPORTED_UP_TO.get(self.name)
        return newest is None or self.version is None or self.version > newest


def identify(
    path_segment: str | None, header: str | None, query: str = ""
) -> ClientVersion | Refusal:
    """Return who is calling, or why it cannot be served.

    Args:
        path_segment: what stands in `/api/{…}/sync`; None on `/api/sync`. Wins over the header.
        header: value of `Convex-Client`, if sent.
        query: what stands behind `?` in the URL; all but `parley=1` in it is ignored.
    """
    if path_segment is None:
        client = _from_header(header or "")
    else:
        version = _semver(path_segment)
        if version is None:
            return Refusal("InvalidClientVersion", "The version in the path is not a semver")
        client = ClientVersion("npm", version)
    if not client.is_supported:
        return Refusal(
            "ClientVersionUnsupported", f"This version of the {client.name} client is too old"
        )
    return replace(client, is_parley=_asks_for_extensions(query))


def _asks_for_extensions(query: str) -> bool:
    try:
        return "1" in parse_qs(query, max_num_fields=_MAX_QUERY_FIELDS).get("parley", ())
    except ValueError:  # more fields than any client of ours sends
        return False


def _from_header(header: str) -> ClientVersion:
    """Split at the first hyphen that leaves a semver: names and pre-releases have hyphens too."""
    header = header[:MAX_VERSION_TEXT]
    for hyphen in re.finditer("-", header):
        version = _semver(header[hyphen.end() :])
        if version is not None:
            return ClientVersion(header[: hyphen.start()], version)
    return ClientVersion()


def _semver(text: str) -> Version | None:
    match = _SEMVER.fullmatch(text[: MAX_VERSION_TEXT + 1])
    if match is None or len(text) > MAX_VERSION_TEXT:
        return None
    major, minor, patch, prerelease = match.groups()
    return Version(int(major), int(minor), int(patch), prerelease is None)
