"""A server that requires a token: only requests with it are answered, and it is never shown."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import psutil
import pytest
import requests

from mnist_lightning.client.__main__ import main as client
from mnist_lightning.common import tokens
from mnist_lightning.loadtest.generators import Target, generator_name, run_threads, run_wrk
from mnist_lightning.serve import main as serve
from mnist_lightning.serving.config import GRPC_OFFSETS, OFFSETS
from mnist_lightning.serving.torchserve import Server, free_port, running
from tests.support import SEVEN

TOKEN = "0123456789abcdef-secret"  # noqa: S105 - of this test's server only
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture(scope="module")
def guarded(small_store: Path, token_file: Path) -> Iterator[Server]:
    """A server that requires TOKEN."""
    with running(small_store, free_port(), token_file=token_file) as server:
        yield server


def post(server: Server, authorization: str | None, path: str = "predictions/mnist") -> requests.Response:
    headers = {**RAW, **({} if authorization is None else {"Authorization": authorization})}
    return requests.post(f"{server.url}/{path}", data=SEVEN.read_bytes(), headers=headers, timeout=30)


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN} "])
def test_requests_with_the_token_are_answered(guarded: Server, authorization: str) -> None:
    assert post(guarded, authorization).json()["prediction"] == 7


WRONG = [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer x"]


@pytest.mark.parametrize("authorization", WRONG)
@pytest.mark.parametrize("path", ["predictions/mnist", "explanations/mnist", "predictions/nobody", ""])
def test_requests_without_the_token_get_401(guarded: Server, authorization: str | None, path: str) -> None:
    answer = post(guarded, authorization, path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"code", "type", "message"}
    assert TOKEN not in answer.text


def test_only_ping_itself_needs_no_token(guarded: Server) -> None:
    assert requests.get(f"{guarded.url}/ping", timeout=10).json() == {"status": "Healthy"}
    for path in ("ping/../predictions/mnist", "predictions/mnist?/ping", "predictions/mnist#/ping", "/ping"):
        prepared = requests.Request("POST", guarded.url, data=SEVEN.read_bytes(), headers=RAW).prepare()
        prepared.url = f"{guarded.url}/{path}"
        with requests.Session() as session:
            answer = session.send(prepared, timeout=10)
        assert "prediction" not in answer.text, path


def test_a_connection_stays_open_after_a_401(guarded: Server) -> None:
    with requests.Session() as session:
        for token, status in (("x" * 20, 401), (TOKEN, 200), ("x" * 20, 401), (TOKEN, 200)):
            headers = {**RAW, **tokens.auth_headers(token)}
            url = f"{guarded.url}/predictions/mnist"
            assert session.post(url, data=SEVEN.read_bytes(), headers=headers, timeout=10).status_code == status


def test_a_401_comes_before_the_body(guarded: Server) -> None:
    address = urlsplit(guarded.url)
    for expect in ("", "Expect: 100-continue\r\n"):
        head = f"POST /predictions/mnist HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n{expect}\r\n"
        with socket.create_connection((address.hostname, address.port or 0), timeout=10) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_check_and_client_send_it(
    guarded: Server, token_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = guarded.url.rpartition(":")[2]
    assert serve(["--check", "--port", port]) == 1
    assert serve(["--check", "--port", port, "--token-file", str(token_file)]) == 0
    assert client(["--url", guarded.url, str(SEVEN)]) == 1
    assert "401: this server requires a token" in capsys.readouterr().err
    for flags, environment in (
        (["--token-file", str(token_file)], {}),
        ([], {tokens.TOKEN_VARIABLE: TOKEN}),
        ([], {tokens.TOKEN_FILE_VARIABLE: str(token_file)}),
    ):
        with monkeypatch.context() as context:
            for name, value in environment.items():
                context.setenv(name, value)
            assert client(["--url", guarded.url, *flags, str(SEVEN)]) == 0
            assert serve(["--check", "--port", port, *flags]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"{SEVEN}: 7")
        assert TOKEN not in out + err


def test_load_generators_send_it(guarded: Server) -> None:
    url = f"{guarded.url}/predictions/mnist"
    for load in [run_threads, *([run_wrk] if generator_name().startswith("wrk") else [])]:
        assert load(Target(url, [SEVEN.read_bytes()], token=TOKEN), 1, 1).error_responses == 0
        without = load(Target(url, [SEVEN.read_bytes()]), 1, 1)
        assert without.error_responses == without.responses > 0


def test_it_is_on_no_command_line_and_in_no_environment(guarded: Server) -> None:
    family = [psutil.Process(guarded.process.pid), *psutil.Process(guarded.process.pid).children(recursive=True)]
    for process in family:
        assert TOKEN not in " ".join(process.cmdline()) + " ".join(process.environ().values())
    assert TOKEN not in repr(guarded)
    assert TOKEN not in repr(Target("", [], token=TOKEN))


@pytest.mark.parametrize("path", ["", "v2", "v2/health/ready", "v2/models/mnist", "v1/models", "docs", "nothing"])
def test_addresses_of_get_need_it(guarded: Server, path: str) -> None:
    answer = requests.get(f"{guarded.url}/{path}", timeout=10)
    assert answer.status_code == 401
    assert set(answer.json()) == ({"error"} if path.startswith("v2") else {"code", "type", "message"})
    headers = tokens.auth_headers(TOKEN)
    assert requests.get(f"{guarded.url}/{path}", headers=headers, timeout=10).status_code in {200, 404}


def test_liveness_needs_no_token(guarded: Server) -> None:
    assert requests.get(f"{guarded.url}/v2/health/live", timeout=10).json() == {"live": True}


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady", "ModelInfer"])
def test_the_open_inference_protocol_s_grpc_requires_it(guarded: Server, method: str) -> None:
    port = int(guarded.url.rpartition(":")[2]) + GRPC_OFFSETS["grpc_inference"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", timeout=10)
    assert refused.value.code().name == "UNAUTHENTICATED"


@pytest.mark.parametrize(("token", "code"), [("", "UNAUTHENTICATED"), ("x" * 20, "UNAUTHENTICATED"), (TOKEN, None)])
def test_grpc_requires_it_as_well(guarded: Server, token: str, code: str | None) -> None:
    port = int(guarded.url.rpartition(":")[2]) + GRPC_OFFSETS["grpc_inference"]
    metadata = [(key.lower(), value) for key, value in tokens.auth_headers(token).items()]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ask = channel.unary_unary("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping")
        if code is None:
            assert ask(b"", metadata=metadata, timeout=10)
            return
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", metadata=metadata, timeout=10)
    assert refused.value.code().name == code


def test_metrics_need_no_token_and_count_401s(guarded: Server) -> None:
    base, _, port = guarded.url.rpartition(":")
    post(guarded, None)
    text = requests.get(f"{base}:{int(port) + OFFSETS['metrics']}/metrics", timeout=10).text
    assert 'mnist_request_seconds_count{code="401",}' in text
