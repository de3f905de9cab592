"""What HTTP does to a request before the handler sees it: nothing that anyone sends is the server's fault."""

import base64
import hashlib
import json
import re
import socket
import zipfile
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
import requests
from requests import Response

from mnist_lightning.serving.torchserve import Server
from tests.support import PROJECT, SEVEN

DIGIT = SEVEN.read_bytes()
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=abc"}
JSON_BODY = json.dumps({"image": base64.b64encode(DIGIT).decode()}).encode()


def post(server: Server, body: bytes, headers: dict[str, str], path: str = "predictions/mnist") -> Response:
    answer = requests.post(f"{server.url}/{path}", data=body, headers=headers, timeout=30)
    assert answer.headers["Content-Type"] == "application/json"
    return answer


def refused(answer: Response, status: int) -> str:
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, status)
    assert set(told) == {"code", "type", "message"}
    return str(told["message"])


@pytest.mark.parametrize("body", [DIGIT, DIGIT + b"%zz&=%", JSON_BODY], ids=["picture", "percent signs", "JSON"])
@pytest.mark.parametrize("headers", [FORM, {"Content-Type": FORM["Content-Type"] + "; charset=UTF-8"}])
def test_what_curl_declares_by_default_is_no_obstacle(server: Server, body: bytes, headers: dict[str, str]) -> None:
    assert post(server, body, headers).json() == post(server, DIGIT, {"Content-Type": "image/png"}).json()


@pytest.mark.parametrize("body", [b"", b"a=1&b=2", b"%", b"&".join([b"a=1"] * 2000)], ids=lambda body: str(body[:8]))
def test_a_form_is_refused_as_what_it_is(server: Server, body: bytes) -> None:
    assert "accepted are" in refused(post(server, body, FORM), 400)


def part(headers: str, content: bytes = DIGIT) -> bytes:
    return f"--abc\r\n{headers}\r\n\r\n".encode() + content + b"\r\n--abc--\r\n"


NAMED = 'Content-Disposition: form-data; name="a"; filename="a"'
BROKEN = {
    "no name": part("Content-Type: image/png"),
    "an encoding": part(f"{NAMED}\r\nContent-Transfer-Encoding: base64", base64.b64encode(DIGIT)),
    "a charset that is none": part('Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=no'),
    "no part": b"--abc--\r\n",
    "another boundary": part(NAMED).replace(b"abc", b"def"),
    "no end": part(NAMED)[:-40],
    "a parameter without a value": part('Content-Disposition: form-data; name="a"; filename'),
    "nothing": b"",
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_multipart_is_a_400(server: Server, what: str) -> None:
    refused(post(server, BROKEN[what], MULTIPART), 400)


def test_broken_multipart_leaves_no_memory_behind(server: Server) -> None:
    """Java has 256 MB for bodies; TorchServe lost 9 of them to each of these, and then refused every large body."""
    body = part("Content-Type: image/png", bytes(9 * 2**20))
    assert {post(server, body, MULTIPART).status_code for _ in range(40)} == {400}


def test_multipart_as_it_should_be(server: Server) -> None:
    assert post(server, part(NAMED), MULTIPART).json()["prediction"] == 7


def test_a_body_that_is_too_large_is_refused_in_json(server: Server) -> None:
    limit = re.search(r"^max_request_size=(\d+)$", (PROJECT / "config/config.properties").read_text(), re.MULTILINE)
    assert limit is not None
    most = int(limit.group(1))
    message = refused(post(server, bytes(most + 1), {"Content-Type": "image/png"}), 413)
    assert f"at most {most:,} bytes" in message
    assert "not a picture" in refused(post(server, bytes(most), {"Content-Type": "image/png"}), 400)


def test_a_body_that_is_announced_as_too_large_need_not_be_sent(server: Server) -> None:
    """As curl asks before it sends more than a megabyte."""
    address = urlsplit(server.url)
    head = "POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    assert json.loads(answer.partition("\r\n\r\n")[2])["code"] == 413


@pytest.mark.parametrize("path", ["predictions", "predictions/nobody", "predictions/mnist/9.9", "nowhere"])
def test_what_is_not_there_is_a_404(server: Server, path: str) -> None:
    refused(post(server, DIGIT, {}, path), 404)


def test_the_classes_in_the_jar_were_built_from_the_sources_beside_it() -> None:
    sources = b"".join(path.read_bytes() for path in sorted((PROJECT / "frontend").glob("*.java")))
    source = hashlib.sha256(sources).hexdigest()
    with zipfile.ZipFile(PROJECT / "frontend/frontend.jar") as jar:
        manifest = jar.read("META-INF/MANIFEST.MF").decode().replace("\r\n ", "")
    assert f"Source-SHA-256: {source}" in manifest


def test_an_address_that_does_not_decode_is_answered(server: Server) -> None:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/%zz", DIGIT)
    assert connection.getresponse().status == 403  # TorchServe's own, for what its router cannot read
    connection.close()
