"""Token -> identity, or a clear refusal. The one entrance of this package.

    token ── HS256 ───────────────► the shared secret ─────────────┐
      │                                                            ├─► signature ─► claims
      └──── RS256, ES256, EdDSA ─► keys of the issuer it names ────┘

The header's `alg` chooses between these two doors and nothing else; each key then insists on its
own algorithm (`keys`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from parley.auth.claims import Expected, identify, normalised_issuer, refused, unknown_issuer
from parley.auth.jwks import KeyCache, Source, check_url
from parley.auth.keys import VerifyingKey, secret_key
from parley.auth.token import Token, parse_token
from parley.clock import Clock, SystemClock
from parley.errors import SetupError
from parley.identity import Identity

if TYPE_CHECKING:
    from parley.config import Settings

SUPABASE_AUDIENCE: Final = "authenticated"  # of every signed-in user's token
FALLBACK_ISSUER: Final = "supabase"  # for tokens without `iss`, when no SUPABASE_URL says better
MAX_TOKEN_BYTES: Final = 8192
_SUPABASE_PATH: Final = "/auth/v1"
_BY_ISSUER: Final = frozenset({"RS256", "ES256", "EdDSA"})


@dataclass(frozen=True, slots=True)
class _Issuer:
    keys: KeyCache
    expected: Expected


class Verifier:
    """Checks the tokens of every configured provider. Use from one event loop; `aclose` it.

    Providers, any combination: `secret` (HS256), `supabase_url` (its public keys), `issuer` with
    `audience` (any OIDC issuer). With none of them every token is refused.

    Args:
        secret: shared HS256 secret, at least 32 bytes. Its tokens may lack `iss`: their issuer is
            `supabase_url`'s, or "supabase".
        supabase_url: `https://<project>.supabase.co`.
        issuer: `iss` of an OIDC issuer; slash at the end and `https://` do not matter.
        jwks_url: where that issuer's keys are; None finds out by OIDC discovery.
        audience: the only `aud` that tokens of `issuer` may have.
        max_token_bytes: longer tokens are refused unread.
        clock: wall time for claims, monotonic time for cached keys.

    Raises:
        SetupError: a short secret, a URL that is not https, settings that need one another.
    """

    def __init__(
        self,
        *,
        secret: str | None = None,
        supabase_url: str | None = None,
        issuer: str | None = None,
        jwks_url: str | None = None,
        audience: str | None = None,
        max_token_bytes: int = MAX_TOKEN_BYTES,
        clock: Clock | None = None,
    ) -> None:
        """Check the settings; fetch nothing yet."""
        self._clock = clock or SystemClock()
        self._max_token_bytes = max_token_bytes
        self._secret: VerifyingKey | None = secret_key(secret) if secret else None
        self._issuers: dict[str, _Issuer] = {}
        supabase_issuer = _supabase_issuer(supabase_url) if supabase_url else None
        self._by_secret = Expected(
            supabase_issuer, SUPABASE_AUDIENCE, supabase_issuer or FALLBACK_ISSUER
        )
        if supabase_issuer:
            source = Source(f"{supabase_issuer}/.well-known/jwks.json")
            self._trust(Expected(supabase_issuer, SUPABASE_AUDIENCE), source)
        if issuer and audience:
            expected = Expected(normalised_issuer(issuer), audience)
            self._trust(expected, _source(normalised_issuer(issuer), jwks_url))
        elif issuer or jwks_url or audience:
            raise SetupError(
                "AUTH_ISSUER and AUTH_AUDIENCE need each other, AUTH_JWKS_URL needs both: without "
                "an audience, tokens that were issued for other apps would be accepted."
            )

    @classmethod
    def from_settings(
        cls, settings: Settings, *, dev_secret: str | None = None, clock: Clock | None = None
    ) -> Verifier:
        """Return the verifier that the settings ask for.

        Args:
            settings: of the process.
            dev_secret: the secret of development mode; ignored when any provider is configured.
            clock: the system's when None.

        Raises:
            SetupError: as the class does.
        """
        return cls(
            secret=settings.supabase_jwt_secret if settings.is_auth_configured else dev_secret,
            supabase_url=settings.supabase_url,
            issuer=settings.auth_issuer,
            jwks_url=settings.auth_jwks_url,
            audience=settings.auth_audience,
            max_token_bytes=settings.max_token_bytes,
            clock=clock,
        )

    async def verify(self, token: str) -> Identity | None:
        """Return whom `token` names; None when it is Supabase's `anon` key, that is nobody.

        Waits at most about 5 s, and only while an issuer's keys are fetched. Safe to cancel and to
        call from many tasks at once.

        Raises:
            AuthRejected: it proves nothing; its subclasses say why in the ways Convex does.
        """
        parsed = parse_token(token, self._max_token_bytes)
        key, expected = await self._key_for(parsed)
        if key.algorithm != parsed.algorithm or not key.check(
            parsed.signing_input, parsed.signature
        ):
            raise refused("the signature is wrong")
        return identify(parsed.payload, expected, self._clock.wall_us() / 1e6)

    async def aclose(self) -> None:
        """Close the connections to issuers; safe to call twice."""
        for issuer in self._issuers.values():
            await issuer.keys.aclose()

    def _trust(self, expected: Expected, source: Source) -> None:
        if expected.issuer is None or expected.issuer in self._issuers:
            raise SetupError("AUTH_ISSUER is the issuer of SUPABASE_URL; set only one of them")
        self._issuers[expected.issuer] = _Issuer(KeyCache(source, self._clock), expected)

    async def _key_for(self, token: Token) -> tuple[VerifyingKey, Expected]:
        """Return the key that must have signed `token`, and what it then must say."""
        if token.algorithm == "HS256":
            if self._secret is None:
                raise unknown_issuer("HS256, but no secret is configured")
            return self._secret, self._by_secret
        if token.algorithm not in _BY_ISSUER:
            raise refused("alg is not one that we accept")
        named = token.payload.get("iss")
        issuer = self._issuers.get(normalised_issuer(named)) if isinstance(named, str) else None
        if issuer is None:
            raise unknown_issuer("iss is not a configured issuer")
        if token.key_id is None:
            raise refused("kid is missing")
        return await issuer.keys.find(token.key_id, token.algorithm), issuer.expected


def _supabase_issuer(supabase_url: str) -> str:
    check_url(supabase_url, may_be_local=True)
    return supabase_url.rstrip("/") + _SUPABASE_PATH


def _source(issuer: str, jwks_url: str | None) -> Source:
    if jwks_url:
        return Source(jwks_url)
    return Source(f"{issuer}/.well-known/openid-configuration", issuer)
