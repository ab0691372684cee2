"""A real OpenID Connect provider in a process of its own: the one of oidc-provider-mock (Flask and Authlib), made to
insist on PKCE, and able to lie on demand.

``python oidc_provider.py PORT`` runs it on 127.0.0.1. ``PUT /lies`` takes a JSON object that changes what the next
identity tokens and userinfo answers say.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import flask
import oidc_provider_mock._app as provider
from authlib.jose import JsonWebKey, jwt

challenges: dict[str, str] = {}
"""Authorisation code → the challenge that came with its request."""
asked: list[dict[str, str]] = []
lies: dict[str, Any] = {}


def build() -> flask.Flask:
    app = provider.app()

    @app.put("/lies")
    def lie() -> tuple[str, int]:
        lies.clear()
        lies.update(flask.request.get_json())
        return "", 204

    @app.get("/asked")
    def what_was_asked() -> flask.Response:
        return flask.jsonify(asked)

    @app.before_request
    def insist_on_pkce() -> flask.Response | None:
        if flask.request.path == "/oauth2/token":
            verifier = flask.request.form.get("code_verifier", "")
            digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            if challenges.pop(flask.request.form.get("code", ""), None) != digest:
                return flask.make_response({"error": "invalid_grant"}, 400)
        if flask.request.path == "/oauth2/authorize" and flask.request.args.get("code_challenge_method") != "S256":
            return flask.make_response("PKCE with S256 is needed", 400)
        return None

    @app.after_request
    def remember_and_lie(response: flask.Response) -> flask.Response:
        path = flask.request.path
        if path == "/oauth2/authorize" and "code=" in response.headers.get("Location", ""):
            code = parse_qs(urlsplit(response.headers["Location"]).query)["code"][0]
            challenges[code] = flask.request.args["code_challenge"]
            asked.append(flask.request.args.to_dict())
        if "error=" in response.headers.get("Location", "") and "state=" not in response.headers["Location"]:
            # RFC 6749, 4.1.2.1: the state comes back with an error too.
            response.headers["Location"] += f"&state={flask.request.args['state']}"
        if path == "/oauth2/token" and response.status_code == 200:
            said = response.get_json()
            said["id_token"] = _id_token(said["id_token"])
            response.set_data(json.dumps(said))
        if path == "/userinfo" and response.status_code == 200 and "userinfo" in lies:
            response.set_data(json.dumps(response.get_json() | lies["userinfo"]))
        return response

    return app


def _id_token(honest: str) -> str:
    storage = flask.g.oidc_provider_mock_storage
    claims = dict(jwt.decode(honest, storage.jwk)) | lies.get("claims", {})
    if lies.get("expired"):
        claims |= {"iat": int(time.time()) - 7200, "exp": int(time.time()) - 3600}
    key, header = storage.jwk, {"alg": "RS256", "kid": storage.jwk.as_dict(add_kid=True)["kid"]}
    if lies.get("foreign_key"):
        key = JsonWebKey.generate_key("RSA", 2048, {"kid": header["kid"]}, is_private=True)
    if lies.get("unsigned"):
        part = {"alg": "none"}
        return (
            ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (part, claims))
            + "."
        )
    return str(jwt.encode(header, claims, key).decode())


if __name__ == "__main__":
    build().run(host="127.0.0.1", port=int(sys.argv[1]), debug=False, threaded=True)
