"""The verb `serve`: its flags, and its errors, each one clear line."""

import io
import signal
import socket
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mnist_lightning import serve
from mnist_lightning.serving import pid_file
from mnist_lightning.serving.config import MODEL_CONFIG
from mnist_lightning.serving.torchserve import ServerError, free_port


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """`serve` installs signal handlers in this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "mnist.mar", "w") as archive:
        archive.writestr("mnist.pt", b"weights")
    return tmp_path


def error_of(capsys: pytest.CaptureFixture[str], *flags: object) -> str:
    """Run the verb, which must fail with one line on stderr; return that line."""
    assert serve.main([str(flag) for flag in flags]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_port_in_use(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        error = error_of(capsys, "--port", port, "--store", store)
    assert error == f"error: port {port + 1} on 127.0.0.1 is in use; choose another with --port N\n"
    assert pid_file.find(port) is None


@pytest.mark.parametrize("port", [0, 80, 2033, 65534, 99999])
def test_a_port_out_of_range(port: int, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is out of range" in error_of(capsys, "--port", port, "--store", store)


def test_the_allowed_origins_reach_torchserve(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    def running(*_: object, origins: list[str], **__: object) -> None:
        found.append(origins)
        raise ServerError("this test starts none")

    monkeypatch.setattr(serve, "running", running)
    flags = ["--port", str(free_port()), "--store", str(store)]
    assert serve.main(flags) == 1
    assert (
        serve.main([*flags, "--allow-origin", "https://Example.com/", "--allow-origin", "http://localhost:3000"]) == 1
    )
    assert found == [[], ["https://example.com", "http://localhost:3000"]]


def test_what_is_no_origin_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        serve.main(["--allow-origin", "*"])
    assert "argument --allow-origin: '*' is no origin: a scheme, a host" in capsys.readouterr().err


def test_a_missing_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(capsys, "--port", free_port(), "--store", tmp_path)
    assert "mnist.mar does not exist" in error
    assert "mnist_lightning.package" in error


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


DAMAGED = {
    "another file": b"no archive",
    "an empty file": b"",
    "damaged data": zipped("a", bytes(10_000)).replace(zlib.compress(bytes(10_000))[2:12], b"\xff" * 10),
    "an empty configuration": zipped(MODEL_CONFIG, b""),
    "an invalid configuration": zipped(MODEL_CONFIG, b"{a: ["),
    "a configuration that is no text": zipped(MODEL_CONFIG, b"\xff\xfe\xff"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mnist.mar").write_bytes(DAMAGED[kind])
    error = error_of(capsys, "--port", free_port(), "--store", tmp_path)
    assert "mnist.mar is damaged" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("host", ["::1", "192.0.2.1", "a..b", "\xff", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine(host: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(capsys, "--port", free_port(), "--store", store, "--host", host)
    assert "is no IPv4 address of this machine" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("host", ["a..b", "::1"])
def test_the_check_of_a_host_that_is_none(host: str, store: Path) -> None:
    assert serve.main(["--check", "--port", str(free_port()), "--host", host]) == 1


@pytest.mark.parametrize("token", ["ключключключключ", "two words of some length", "line\nfeed and some length"])
def test_an_environment_without_a_token(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MNIST_TOKEN", token)
    error = error_of(capsys, "--check", "--port", free_port())
    assert error == "error: MNIST_TOKEN is not a token, which is ASCII text without spaces\n"


@pytest.mark.parametrize("content", [None, b"", b"short", b"two words of some length", b"\xff" * 32])
def test_a_file_without_a_token(content: bytes | None, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store / "token"
    if content is not None:
        path.write_bytes(content)
    error = error_of(capsys, "--port", free_port(), "--store", store, "--token-file", path)
    assert error.startswith(f"error: {path}")


def test_a_reload_without_a_server(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(capsys, "--reload", "--store", store, "--port", free_port())
    assert "of this user runs on port" in error


def test_a_check_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main(["--check", "--port", str(free_port())]) == 1
    assert capsys.readouterr() == ("", "")


def test_the_old_name_of_a_profile_is_accepted_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve.main(["--profile", "crowd", "--store", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        "warning: --profile crowd is now throughput; the next release will not accept crowd"
    )


def test_an_unknown_profile_is_rejected_with_the_accepted_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        serve.main(["--profile", "cheap"])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert all(name in error for name in ("'cheap'", "throughput", "latency"))
