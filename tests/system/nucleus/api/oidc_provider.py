"""A provider of OpenID Connect in this process; `test_oidc_provider.py` has the same by a real one."""

import base64
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from nucleus.configuration import OidcSettings

SECRET = "a secret of both"


class Provider:
    """One that has asked ann who she is: `codes` has the question of each code, which counts once."""

    def __init__(self) -> None:
        self.keys = [ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})]
        self.codes: dict[str, dict[str, str]] = {}
        self.changes: dict[str, Any] = {}
        """What is not as it should be in the tokens that are given for codes."""

        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys = KeySet(provider.keys).as_dict(private=False)
                self.answer(200, keys if self.path == "/keys" else provider.about())

            def do_POST(self) -> None:
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = provider.token(dict(parse_qsl(form)))
                self.answer(*((200, {"id_token": token}) if token else (400, {"error": "invalid_grant"})))

            def answer(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.settings = OidcSettings(issuer=self.issuer)

    def about(self) -> dict[str, str]:
        """The document of its addresses."""
        names = {"jwks_uri": "keys", "authorization_endpoint": "ask?x=1", "token_endpoint": "token"}
        return {"issuer": self.issuer, **{name: f"{self.issuer}/{path}" for name, path in names.items()}}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Those of a valid token, and others."""
        claims = {"iss": self.issuer, "aud": "nucleus", "sub": "s1", "preferred_username": "ann"}
        valid = {**claims, "exp": int(time.time()) + 300}
        return {name: value for name, value in {**valid, **changes}.items() if value is not None}

    def sign(self, key: Any = None, algorithm: str = "ES256", **changes: Any) -> str:
        """A token."""
        key = key or self.keys[-1]
        header = {"alg": algorithm, **({"kid": key.kid} if key.kid else {})}
        return jwt.encode(header, self.claims(**changes), key, algorithms=[algorithm])

    def token(self, form: dict[str, str]) -> str | None:
        """For the one who asked, with the verifier of the question and the secret of the client."""
        question = self.codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if question is None or form["client_secret"] != SECRET or form["grant_type"] != "authorization_code":
            return None
        if (challenge, form["redirect_uri"]) != (question["code_challenge"], question["redirect_uri"]):
            return None
        return self.sign(**{"nonce": question["nonce"], **self.changes})


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider that runs."""
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(60)
    made.server.server_close()
