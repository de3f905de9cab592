"""Which sites' pages may read answers: none, or those that --allow-origin names."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from mnist_lightning.serving.config import OFFSETS
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import SEVEN

ALLOWED, SECOND = "https://example.com", "http://localhost:3000"
TOKEN = "0123456789abcdef-secret"  # noqa: S105 - of this test's server only
REFUSED = ["https://example.com.evil.org", "http://example.com", "https://example.com:8443", "null", "", "*", ","]
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
CORS = "Access-Control-"


@pytest.fixture(scope="module")
def open_server(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, for pages of two sites."""
    token_file = tmp_path_factory.mktemp("token") / "token"
    token_file.write_text(TOKEN)
    origins = [ALLOWED, SECOND, ALLOWED]
    with running(small_store, free_port(), token_file=token_file, origins=origins) as server:
        yield server


def send(
    server: Server, origin: str | None, token: str | None = TOKEN, path: str = "predictions/mnist"
) -> requests.Response:
    headers = {"Content-Type": "image/png", **({} if origin is None else {"Origin": origin})}
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.post(f"{server.url}/{path}", data=SEVEN.read_bytes(), headers=headers, timeout=30)


def preflight(server: Server, origin: str) -> requests.Response:
    url = f"{server.url}/predictions/mnist"
    return requests.options(url, headers={"Origin": origin, **PREFLIGHT}, timeout=30)


def cors_headers(response: requests.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith(CORS)}


@pytest.mark.parametrize("origin", [ALLOWED, SECOND])
def test_an_allowed_origin_reads_answers_and_errors(open_server: Server, origin: str) -> None:
    for answer, status in (
        (send(open_server, origin), 200),
        (send(open_server, origin, token=None), 401),
        (send(open_server, origin, path="predictions/nobody"), 404),
        (requests.get(f"{open_server.url}/ping", headers={"Origin": origin}, timeout=30), 200),
    ):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Expose-Headers"] == "*"
        assert answer.headers["Vary"].lower() == "origin"


def test_a_preflight_needs_no_token(open_server: Server) -> None:
    answer = preflight(open_server, ALLOWED)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"] == "*, Authorization"


@pytest.mark.parametrize("origin", REFUSED)
def test_other_origins_read_nothing(open_server: Server, origin: str) -> None:
    answer = send(open_server, origin)
    assert answer.status_code == 200  # as for a client that is no browser
    assert cors_headers(answer) == {}
    assert answer.headers["Vary"].lower() == "origin"  # or a cache would give it to an allowed one
    asked = preflight(open_server, origin)
    assert asked.status_code == 401
    assert cors_headers(asked) == {}


def test_options_that_is_no_preflight_needs_the_token(open_server: Server) -> None:
    answer = requests.options(f"{open_server.url}/predictions/mnist", headers={"Origin": ALLOWED}, timeout=30)
    assert answer.status_code == 401


def test_each_request_of_a_connection_has_its_own_origin(open_server: Server) -> None:
    parts = urlsplit(open_server.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    found = []
    for method, origin in (("GET", ALLOWED), ("OPTIONS", SECOND), ("GET", "https://evil.org"), ("GET", SECOND)):
        connection.request(method, "/ping", headers={"Origin": origin, **PREFLIGHT})
        answer = connection.getresponse()
        answer.read()
        found.append(answer.headers.get_all("Access-Control-Allow-Origin"))
    connection.close()
    assert found == [[ALLOWED], [SECOND], None, [SECOND]]


def test_the_other_ports_are_for_no_page(open_server: Server) -> None:
    parts = urlsplit(open_server.url)
    for name, path in (("management", "models"), ("metrics", "metrics")):
        url = f"http://{parts.hostname}:{(parts.port or 0) + OFFSETS[name]}/{path}"
        answer = requests.get(url, headers={"Origin": ALLOWED}, timeout=30)
        assert answer.ok
        assert cors_headers(answer) == {}


def test_no_origin_is_allowed_by_default(server: Server) -> None:
    for origin in (ALLOWED, "null", ""):
        answer = send(server, origin, token=None)
        assert answer.status_code == 200
        assert cors_headers(answer) == {}
        assert "Vary" not in answer.headers
        assert cors_headers(preflight(server, origin)) == {}
