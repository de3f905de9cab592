"""The drawing page's server: forwards pictures to the model server and stores corrections in a folder.

The browser talks to this server only. The model server therefore needs no CORS, and the browser receives no token.
"""

import contextlib
import errno
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from mnist_lightning import client
from mnist_lightning.common.constants import MAX_REQUEST_BYTES
from mnist_lightning.inference.errors import ACCEPTED, http_status
from mnist_lightning.preprocessing.decode import decode
from mnist_lightning.preprocessing.errors import BadPictureError
from mnist_lightning.preprocessing.normalize import normalize_with_count, turn
from mnist_lightning.web import feedback
from mnist_lightning.web.feedback import Quota, QuotaError
from mnist_lightning.web.languages import LANGUAGES, choose_language
from mnist_lightning.web.render import SECURITY_HEADERS, render_page

EXAMPLES = Path(__file__).with_name("examples")  # pictures, DIGIT-KIND.jpg; made by benchmarks.examples
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORWARDED_STATUSES = (400, 413, 415, 501, 504)  # of the model server, where they describe the page's request too


@dataclass(frozen=True)
class Settings:
    """The model server's address, timeout in seconds and token, and the folder for corrections with its quota."""

    url: str
    feedback: Path
    timeout: float = 10.0
    token: str | None = field(default=None, repr=False)
    quota: Quota = field(default_factory=Quota)

    def ask(self, picture: bytes, *, explain: bool = False) -> dict[str, Any]:
        """Return the model server's answer. Raises client.ClientError."""
        return client.ask(picture, self.url, self.timeout, self.token, explain=explain)


async def _require_same_origin(request: Request) -> None:
    """Reject requests from other sites' pages, also by DNS rebinding: a foreign name that resolves to this machine."""
    host = request.headers.get("host", "")
    if not _is_trusted_host(host):
        raise HTTPException(403, f"the host {host!r} is not accepted; open this page by its IP address or localhost")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    is_foreign = site != "same-origin" or origin not in (None, f"http://{host}", f"https://{host}")
    if request.method == "POST" and is_foreign:
        raise HTTPException(403, "requests from another site's page are not accepted")


def _is_trusted_host(host: str) -> bool:
    """Return whether NAME or NAME:PORT is localhost or an IP address; other names can belong to another site."""
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or bool(ipaddress.ip_address(name or ""))
    return False


async def _read_body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_REQUEST_BYTES:
            raise HTTPException(413, f"the picture is too large; the limit is {MAX_REQUEST_BYTES:,} bytes")
    return bytes(content)


Picture = Annotated[bytes, Depends(_read_body)]
Digit = Annotated[int, PathParameter(ge=0, le=9)]


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI application of the page."""
    app = FastAPI(openapi_url=None, dependencies=[Depends(_require_same_origin)])
    app.exception_handler(client.ClientError)(_model_server_error)
    app.exception_handler(BadPictureError)(_bad_picture)
    app.exception_handler(RequestValidationError)(_bad_label)
    app.exception_handler(StarletteHTTPException)(_http_error)
    examples = sorted(path.name for path in EXAMPLES.glob("*.jpg"))
    pages = {language: render_page(language, settings.feedback, examples) for language in LANGUAGES}

    @app.get("/")
    def page(request: Request) -> HTMLResponse:
        language = choose_language(request.headers.get("accept-language", ""))
        return HTMLResponse(pages[language].text, headers=pages[language].headers)

    @app.post("/read")
    def read(picture: Picture) -> dict[str, Any]:
        answer = settings.ask(picture)  # first: the model server limits the time that a picture may take
        image = turn(normalize_with_count(decode(picture)), answer.get("rotation", 0)).image
        return {"answer": answer, "seen": (255 * image).round().astype(int).tolist()}

    @app.get("/examples/{name}")
    def example(name: str) -> Response:
        if name not in examples:
            raise HTTPException(404, "there is no such example")
        return FileResponse(EXAMPLES / name, headers=SECURITY_HEADERS)

    @app.post("/explain")
    def explain(picture: Picture) -> dict[str, Any]:
        return settings.ask(picture, explain=True)

    @app.post("/feedback/{label}")
    def save(label: Digit, picture: Picture, read: Annotated[int | None, Query(ge=0, le=9)] = None) -> dict[str, str]:
        try:
            return {"kept": str(feedback.save(settings.feedback, picture, label, read, settings.quota))}
        except QuotaError as error:
            raise HTTPException(507, str(error)) from error
        except OSError as error:
            status = 507 if error.errno in DISK_FULL else 500
            raise HTTPException(status, f"{settings.feedback} cannot be written: {error.strerror or error}") from error

    return app


def _error_response(status: int, kind: str, message: object) -> JSONResponse:
    """Return an error in the model server's format, without its list of request formats, which the page hides."""
    return JSONResponse({"code": status, "type": kind, "message": str(message).removesuffix(f"; {ACCEPTED}")}, status)


def _model_server_error(_: Request, error: client.ClientError) -> Response:
    """Answer for a model server that rejects the picture, is not running or is too slow."""
    if error.status == 401:
        return _error_response(502, "TokenError", "the server requires a token; start this page with --token-file FILE")
    kind, message = error.body.get("type", client.ClientError.__name__), error.body.get("message", error)
    return _error_response(error.status if error.status in FORWARDED_STATUSES else 502, kind, message)


def _bad_picture(_: Request, error: BadPictureError) -> Response:
    return _error_response(http_status(error), type(error).__name__, error)


def _bad_label(_: Request, error: RequestValidationError) -> Response:
    return _error_response(400, type(error).__name__, "the label must be a digit, 0 to 9")


def _http_error(_: Request, error: StarletteHTTPException) -> Response:
    return _error_response(error.status_code, type(error).__name__, error.detail)
