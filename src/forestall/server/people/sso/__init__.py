"""Single sign-on by OpenID Connect, on allauth's client, with what it leaves out: nonce, signature, one subject."""
