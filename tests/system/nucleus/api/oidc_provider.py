"""A provider of OpenID Connect in this process; `test_oidc_provider.py` has the same by a real one."""

import base64
import hashlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from nucleus.configuration import OidcSettings

SECRET = "a secret of both"


class Provider:
    """One that has asked ann who she is: `codes` has the question of each code, which counts once."""

    def __init__(self, identity: tuple[Path, Path] | None = None) -> None:
        """`identity` are the files of certificate and key for HTTPS; None is plain HTTP."""
        self.asked: list[str] = []
        self.redirects: dict[str, str] = {}
        """Path → where it leads."""

        self.keys = [ECKey.generate_key("P-256", {"kid": "one", "use": "sig", "alg": "ES256"})]
        self.codes: dict[str, dict[str, str]] = {}
        self.changes: dict[str, Any] = {}
        """What is not as it should be in the tokens that are given for codes."""

        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.leads_elsewhere():
                    return
                keys = KeySet(provider.keys).as_dict(private=False)
                self.answer(200, keys if self.path == "/keys" else provider.about())

            def do_POST(self) -> None:
                if self.leads_elsewhere():
                    return
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = provider.token(dict(parse_qsl(form)))
                self.answer(*((200, {"id_token": token}) if token else (400, {"error": "invalid_grant"})))

            def leads_elsewhere(self) -> bool:
                provider.asked.append(self.path)
                if self.path not in provider.redirects:
                    return False
                self.send_response(302)
                self.send_header("Location", provider.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return True

            def answer(self, status: int, content: Any) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*identity)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = f"http{'s' if identity else ''}://127.0.0.1:{self.server.server_address[1]}"
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


@contextmanager
def running(made: Provider) -> Iterator[Provider]:
    """The provider, which runs in the block."""
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join(60)
        made.server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider that runs."""
    with running(Provider()) as made:
        yield made
