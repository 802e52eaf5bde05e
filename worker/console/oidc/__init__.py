"""Sign-in by an OpenID Connect provider: authorization code flow with PKCE, state and nonce.

`provider` asks it, `tokens` believes nothing that is not signed for us, `guests` reads name and role out of the
claims, `flow` holds the two halves of a sign-in together by a cookie.
"""
