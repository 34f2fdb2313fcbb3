"""Deployment admin keys: refused, unless the operator configured one."""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping

from parley import values
from parley.auth.claims import is_name, refused
from parley.errors import ValueInvalid
from parley.identity import Identity


def admin_identity(
    given: str, configured: str | None, acting_as: Mapping[str, object] | None = None
) -> Identity | None:
    """Check an admin key and return the user it acts as; None acts as nobody.

    Source: PROTOCOL.md §8.4; `Authenticate` with tokenType Admin, HTTP `Authorization: Convex …`.

    Args:
        given: the key that the peer sent.
        configured: the operator's key; None or empty means that there is none.
        acting_as: attributes of a user: `tokenIdentifier`, or `issuer` and `subject`, then claims
            by Convex's names. Such an identity never expires.

    Raises:
        AuthRejected: no key is configured, another one was given, or `acting_as` is no user.
    """
    if not configured or not hmac.compare_digest(
        given.encode("utf-8", "replace"), configured.encode()
    ):
        raise refused("admin key refused")
    if acting_as is None:
        return None
    attributes = dict(acting_as)
    issuer, subject = attributes.pop("issuer", None), attributes.pop("subject", None)
    whole = attributes.pop("tokenIdentifier", None)
    if isinstance(whole, str):
        issuer, _, subject = whole.partition("|")
    if not (is_name(issuer) and is_name(subject)):
        raise refused("acting as a user needs tokenIdentifier, or issuer and subject")
    try:
        claims = {name: values.decode(value) for name, value in attributes.items()}
        return Identity(issuer, subject, claims, math.inf)
    except ValueInvalid:
        raise refused("acting as a user with attributes that are no Convex values") from None
