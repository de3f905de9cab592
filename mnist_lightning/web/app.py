"""The page to draw on and what it may ask: pictures go on to the model server, corrections into a folder.

The browser talks to this server alone, so that the model server needs no CORS, and no token reaches the browser.
"""

import base64
import contextlib
import hashlib
import html
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as Place
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from mnist_lightning import client
from mnist_lightning.inference.errors import ACCEPTED, STATUS
from mnist_lightning.preprocessing.decode import BadPictureError
from mnist_lightning.preprocessing.normalize import from_bytes
from mnist_lightning.web import feedback

PAGE = Path(__file__).with_name("index.html")
MAX_BYTES = 10_485_760  # of a picture; config.properties' max_request_size
PASSED_ON = (400, 413, 415, 501, 504)  # statuses of the model server that are true of the page's request too


@dataclass(frozen=True)
class Rooms:
    """The server that reads the pictures, and where corrections are kept."""

    url: str
    feedback: Path
    timeout: float = 10.0
    token: str | None = field(default=None, repr=False)

    def ask(self, picture: bytes, *, explain: bool = False) -> dict[str, Any]:
        """What the server answers. Raises client.ClientError."""
        return client.ask(picture, self.url, self.timeout, self.token, explain=explain)


async def _own_site(request: Request) -> None:
    """Only this page may ask: no other site's page, nor one that gave its own name this machine's address."""
    host = request.headers.get("host", "")
    if not _is_here(host):
        raise HTTPException(403, f"{host!r} is not how this page is reached; use its address")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    foreign = site != "same-origin" or origin not in (None, f"http://{host}", f"https://{host}")
    if request.method == "POST" and foreign:
        raise HTTPException(403, "asked from another site's page")


def _is_here(host: str) -> bool:
    """Whether NAME or NAME:PORT names localhost or an IP address; any other name may be somebody else's."""
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or bool(ipaddress.ip_address(name or ""))
    return False


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            raise HTTPException(413, f"the picture is too large; at most {MAX_BYTES:,} bytes are read")
    return bytes(content)


Picture = Annotated[bytes, Depends(_body)]
Digit = Annotated[int, Place(ge=0, le=9)]


def application(rooms: Rooms) -> FastAPI:
    """The page's server."""
    app = FastAPI(openapi_url=None, dependencies=[Depends(_own_site)])
    app.exception_handler(client.ClientError)(_unanswered)
    app.exception_handler(BadPictureError)(_bad_picture)
    app.exception_handler(RequestValidationError)(_bad_label)
    app.exception_handler(AnyHTTPException)(_bad_request)
    text, headers = _page(rooms.feedback)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(text, headers=headers)

    @app.post("/read")
    def read(picture: Picture) -> dict[str, Any]:
        answer = rooms.ask(picture)  # first, as the server bounds the time that a picture may take
        return {"answer": answer, "seen": (255 * from_bytes(picture)).round().astype(int).tolist()}

    @app.post("/explain")
    def explain(picture: Picture) -> dict[str, Any]:
        return rooms.ask(picture, explain=True)

    @app.post("/feedback/{label}")
    def keep(label: Digit, picture: Picture, read: Annotated[int | None, Query(ge=0, le=9)] = None) -> dict[str, str]:
        try:
            return {"kept": str(feedback.keep(rooms.feedback, picture, label, read))}
        except OSError as error:
            raise HTTPException(500, f"{rooms.feedback} cannot be written: {error.strerror or error}") from error

    return app


def _page(folder: Path) -> tuple[str, dict[str, str]]:
    """The page, and headers that let it load nothing but what it holds, and ask nobody but this server."""
    text = PAGE.read_text(encoding="utf-8").replace("{folder}", html.escape(str(folder)))
    parts = {tag: re.findall(f"<{tag}[^>]*>(.*?)</{tag}>", text, re.DOTALL) for tag in ("script", "style")}
    hashes = {
        tag: " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()}'" for part in found)
        for tag, found in parts.items()
    }
    policy = (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return text, {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _told(status: int, kind: str, message: object) -> JSONResponse:
    """What was wrong, in the form that the model server tells it."""
    plain = str(message).removesuffix(f"; {ACCEPTED}")  # forms of requests are nothing to people who draw
    return JSONResponse({"code": status, "type": kind, "message": plain}, status)


def _unanswered(_: Request, error: client.ClientError) -> Response:
    """A model server that refuses, is gone or slow."""
    if error.status == 401:
        return _told(502, "TokenError", "the server asks for a token; start this page with --token-file FILE")
    kind, message = error.body.get("type", type(error).__name__), error.body.get("message", error)
    return _told(error.status if error.status in PASSED_ON else 502, kind, message)


def _bad_picture(_: Request, error: BadPictureError) -> Response:
    return _told(STATUS.get(type(error), 400), type(error).__name__, error)


def _bad_label(_: Request, error: RequestValidationError) -> Response:
    return _told(400, type(error).__name__, "a label is a digit, 0 to 9")


def _bad_request(_: Request, error: AnyHTTPException) -> Response:
    return _told(error.status_code, type(error).__name__, error.detail)
