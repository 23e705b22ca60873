"""ID tokens: who signed in, according to an OpenID Connect provider, and whether to believe it.

- The signature is verified with a public key of the provider. Algorithms without a signature, or
  with a shared secret, are refused, also where the token names them.
- Issuer, audience, authorized party, times and nonce are checked as OpenID Connect Core, section
  3.1.3.7, requires. Clocks may differ by a minute.
"""

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ClaimError,
    ExpiredTokenError,
    InvalidKeyIdError,
    JoseError,
    UnsupportedAlgorithmError,
)
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry, extract_compact

from nsfw_app.errors import NotSignedIn, UnknownKey

log = logging.getLogger(__name__)

CLOCK_SKEW_S = 60
ALGORITHMS = frozenset(
    """RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519""".split()
)  # of public keys; RFC 7518, RFC 8037 and RFC 9864
WRONG_CLAIMS: Mapping[str, str] = MappingProxyType(
    {
        "iss": "another provider issued it",
        "aud": "it is for another application",
        "azp": "it is for another application",
        "nonce": "it belongs to another sign-in",
        "iat": "it was issued in the future; the clock of this server or of the provider is wrong",
        "nbf": "it is not valid yet; the clock of this server or of the provider is wrong",
        "at_hash": "it belongs to another access token",
    }
)


def verified_claims(
    text: str,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str,
    algorithms: Iterable[str] = ALGORITHMS,
) -> dict[str, Any]:
    """The claims of an ID token.

    Args:
        text: The token.
        keys: The public keys of the provider.
        issuer: The provider's issuer.
        client_id: The id of this client.
        nonce: That of the authorization request.
        access_token: The access token that came with it.
        algorithms: Those that the provider says it uses; only those in `ALGORITHMS` count.

    Raises:
        UnknownKey: None of the keys has the id that the token names, or signed one that names none.
        NotSignedIn: The token is not valid; the message says why.
    """
    allowed = sorted(ALGORITHMS & set(algorithms))
    try:
        if not allowed:  # the library's default would accept shared secrets
            raise UnsupportedAlgorithmError
        registry = JWSRegistry(algorithms=allowed, strict_check_header=False)
        token = jwt.decode(text, keys, registry=registry)
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": issuer},
                "aud": {"essential": True, "value": client_id},
                "sub": {"essential": True},
            },
            {"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(leeway=CLOCK_SKEW_S)
    except InvalidKeyIdError as error:
        raise UnknownKey(str(error)) from error
    except (JoseError, ValueError, TypeError) as error:
        if (
            isinstance(error, BadSignatureError)
            and "kid" not in extract_compact(text.encode()).headers()
        ):
            raise UnknownKey("The token names no key.") from error
        raise NotSignedIn(
            f"The provider's ID token is not valid: {_reason(error)}. Try again; if it persists, "
            "ask the operator of this page."
        ) from error
    return dict(claims)


def import_keys(published: Iterable[Mapping[str, Any]]) -> KeySet:
    """The keys of a provider that this page can use; others are ignored (RFC 7517, section 5)."""
    keys = []
    for key in published:
        try:
            keys += KeySet.import_key_set({"keys": [dict(key)]}).keys
        except (JoseError, ValueError, TypeError, KeyError) as error:
            kid = key.get("kid") if isinstance(key, Mapping) else None
            log.info("A key of the provider is ignored: %r: %s", kid, type(error).__name__)
    return KeySet(keys)


def _reason(error: Exception) -> str:
    if isinstance(error, ExpiredTokenError):
        return "it has expired; the clock of this server or of the provider is wrong"
    if isinstance(error, BadSignatureError):
        return "its signature is wrong"
    if isinstance(error, UnsupportedAlgorithmError):
        return "its signature algorithm is not accepted"
    if isinstance(error, ClaimError):
        return WRONG_CLAIMS.get(error.claim, f"its claim {error.claim} is missing or wrong")
    return "it cannot be read"
