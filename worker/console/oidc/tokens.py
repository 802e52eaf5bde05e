"""ID tokens: OpenID Connect Core 1.0, 3.1.3.7."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwk, jwt
from joserfc.errors import JoseError
from joserfc.jwk import GuestProtocol, Key

from worker.console.oidc.trouble import Trouble

# Signatures that only the provider can make. Neither `none`, nor HMAC with a secret that we know as well.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
LEEWAY = 60  # seconds that the clocks may differ
LONGEST = 64 * 1024  # signs
MOST_KEYS = 100


class UnknownKey(Exception):
    """Signed by a key that was not published when we looked."""


def keys_of(document: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of a JWKS that check signatures; one that we cannot read is left out."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise Trouble("untrue", f"its key set is no list of at most {MOST_KEYS} keys")
    return tuple(key for one in listed if (key := _key(one)) is not None)


def _key(data: Any) -> Key | None:
    if not isinstance(data, dict) or data.get("kty") not in TYPES.values() or data.get("use") == "enc":
        return None
    try:
        return jwk.import_key(data)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def verified(token: str, keys: Sequence[Key], issuer: str, client_id: str, nonce: str) -> dict[str, Any]:
    """Its claims. Raises UnknownKey, or Trouble that says which check failed, not what stood there."""
    if len(token) > LONGEST:
        raise Trouble("untrue", "its ID token is too long")
    try:
        claims = jwt.decode(token, lambda seen: _fitting(seen, keys), algorithms=ALGORITHMS).claims
        _registry(issuer, client_id).validate(claims)
        _check_rest(claims, client_id, nonce)
    except (UnknownKey, Trouble):
        raise
    except JoseError as error:
        raise Trouble("untrue", f"its ID token: {_of(error)}") from None
    except Exception as error:
        # Whatever a parser stumbles over in a stranger's bytes: it is no token.
        raise Trouble("untrue", f"its ID token cannot be read ({type(error).__name__})") from None
    return claims


def _of(error: JoseError) -> str:
    claim = getattr(error, "claim", None)
    return f"{error.error}, {claim}" if isinstance(claim, str) else error.error


def _fitting(seen: GuestProtocol, keys: Sequence[Key]) -> Key:
    """By its name; without one only where there is no choice."""
    header = seen.headers()
    type_, kid = TYPES.get(str(header.get("alg"))[:2]), header.get("kid")
    fitting = [key for key in keys if key.key_type == type_]
    if kid is not None:
        fitting = [key for key in fitting if key.kid == kid]
    elif len(fitting) > 1:
        raise Trouble("untrue", "its ID token does not say which of several keys signed it")
    if not fitting:
        raise UnknownKey
    return fitting[0]


def _registry(issuer: str, client_id: str) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )


def _check_rest(claims: Mapping[str, Any], client_id: str, nonce: str) -> None:
    """What the claims of OpenID Connect add to those of a JWT."""
    given = claims.get("nonce")
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
        raise Trouble("untrue", "its ID token was not made for this sign-in: the nonce differs")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (several or "azp" in claims) and claims.get("azp") != client_id:
        raise Trouble("untrue", "its ID token was made for another client: azp")
    if not 0 < len(claims["sub"]) <= 255 or not claims["sub"].isprintable():
        raise Trouble("untrue", "sub in its ID token is no name of somebody")
