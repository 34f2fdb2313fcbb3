"""Who is calling, from a path or a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.protocol.client_version import ClientVersion, Refusal, Version, identify


@pytest.mark.parametrize(
    ("header", "name", "version"),
    [
        ("rust-0.10.4", "rust", Version(0, 10, 4)),
        ("python-0.7.0", "python", Version(0, 7, 0)),
        ("python-convex-0.6.0", "python-convex", Version(0, 6, 0)),
        ("npm-cli-1.2.3", "npm-cli", Version(1, 2, 3)),
        ("npm-1.30.0-alpha.1-x", "npm", Version(1, 30, 0, is_release=False)),
        ("swift-0.5.1+build-7", "swift", Version(0, 5, 1)),
        ("npm-1.2.3-4.5.6", "npm", Version(1, 2, 3, is_release=False)),
        ("-1.2.3", "", Version(1, 2, 3)),
        ("something-new-9.9.9", "something-new", Version(9, 9, 9)),
    ],
)
def test_a_header_splits_at_the_longest_semver(header: str, name: str, version: Version) -> None:
    assert identify(None, header) == ClientVersion(name, version)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "rust",
        "rust-",
        "rust-1.2",
        "python-0.7.0a1",
        "rust-01.2.3",
        "1.2.3",
        "-" * 5_000,
        "npm-" + "9" * 5_000 + ".0.0",
        "npm-1.2.3\n",
        "npm-1.2.³",
    ],
)
def test_a_header_without_a_semver_is_an_unknown_client_and_allowed(header: str | None) -> None:
    assert identify(None, header) == ClientVersion("unknown", None)


def test_the_path_names_an_npm_client_and_wins_over_the_header() -> None:
    assert identify("1.48.0", "rust-0.10.4") == ClientVersion("npm", Version(1, 48, 0))


@pytest.mark.parametrize(
    ("query", "is_parley"),
    [
        ("parley=1", True),
        ("x=%00&parley=1&y", True),
        ("", False),
        ("parley", False),
        ("parley=", False),
        ("parley=2", False),
        ("Parley=1", False),
        ("x=parley=1", False),
        ("&".join(["x=1"] * 1000 + ["parley=1"]), False),
        ("%zz=\xff&=&&", False),
    ],
)
def test_only_parley_1_asks_for_extensions_and_the_rest_of_a_query_is_ignored(
    query: str, is_parley: bool
) -> None:
    npm = ClientVersion("npm", Version(1, 48, 0), is_parley=is_parley)

    assert identify("1.48.0", None, query) == npm


@pytest.mark.parametrize(
    "segment",
    [
        "",
        "1",
        "1.2",
        "v1.2.3",
        "1.2.3.4",
        "01.2.3",
        "1.2.3-",
        "1.2.3-01",
        "..",
        "1.2.3\n",
        "x" * 999,
        "1.2.3-" + "a" * 999,
        "9" * 5_000 + ".0.0",
        "1.².3",
    ],
)
def test_a_path_that_is_no_semver_is_refused(segment: str) -> None:
    refusal = identify(segment, None)

    assert isinstance(refusal, Refusal)
    assert refusal.code == "InvalidClientVersion"


@pytest.mark.parametrize(
    ("segment", "header"),
    [
        ("0.19.1", None),
        ("0.19.1-alpha.0", None),
        ("0.0.1", None),
        (None, "npm-0.19.1"),
        (None, "python-0.0.2"),
        (None, "python-convex-0.0.1"),
        (None, "rust-0.0.1"),
    ],
)
def test_a_client_too_old_is_refused(segment: str | None, header: str | None) -> None:
    refusal = identify(segment, header)

    assert isinstance(refusal, Refusal)
    assert refusal.code == "ClientVersionUnsupported"


@pytest.mark.parametrize(
    ("segment", "header"),
    [
        ("0.19.2", None),
        ("0.19.2-alpha.0", None),
        (None, "python-0.0.3"),
        (None, "rust-0.0.2"),
        (None, "npm-cli-0.0.1"),
    ],
)
def test_the_next_version_is_served(segment: str | None, header: str | None) -> None:
    assert isinstance(identify(segment, header), ClientVersion)


@pytest.mark.parametrize(
    ("segment", "header", "expected"),
    [
        ("1.28.0", None, True),
        ("1.28.0+x", None, True),
        ("1.48.0", None, True),
        ("2.0.0", None, True),
        ("1.28.1-alpha.0", None, True),
        ("1.28.0-alpha.0", None, False),
        ("1.27.9", None, False),
        (None, "npm-1.28.0", True),
        (None, "npm-cli-1.48.0", False),
        (None, "rust-2.0.0", False),
        (None, "python-2.0.0", False),
        (None, None, False),
    ],
)
def test_only_npm_from_1_28_0_on_gets_chunks(
    segment: str | None, header: str | None, expected: bool
) -> None:
    client = identify(segment, header)

    assert isinstance(client, ClientVersion)
    assert client.supports_chunks is expected


@given(segment=st.none() | st.text(), header=st.none() | st.text())
def test_any_introduction_gets_an_answer(segment: str | None, header: str | None) -> None:
    assert isinstance(identify(segment, header), ClientVersion | Refusal)
