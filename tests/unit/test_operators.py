"""Who may see the pages for operators; the pages themselves are in `test_web_server.py`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from starlette.requests import Request

from parley.config import Settings
from parley.web.operators import _is_operator


def asked_from(address: str | None, authorization: str = "") -> Request:
    services = SimpleNamespace(settings=Settings())
    return Request(
        {
            "type": "http",
            "client": None if address is None else (address, 1),
            "headers": [(b"authorization", authorization.encode())] if authorization else [],
            "app": SimpleNamespace(state=SimpleNamespace(services=services)),
        }
    )


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.1.1", "::1", "fd00::1",
                "::ffff:10.1.2.3"]
)  # fmt: skip
def test_the_private_network_is_the_operators(address: str) -> None:
    assert _is_operator(asked_from(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "2001:4860::1", "::ffff:8.8.8.8", "unknown", None]
)
def test_the_rest_of_the_world_is_not(address: str | None) -> None:
    assert not _is_operator(asked_from(address))


@pytest.mark.parametrize("authorization", ["Bearer ", "Convex ", "Bearer x"])
def test_without_an_admin_key_none_opens_anything(authorization: str) -> None:
    assert not _is_operator(asked_from("8.8.8.8", authorization))
