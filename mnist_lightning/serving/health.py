"""Check whether a server predicts, and whether a starting server can still become ready."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field

import requests

from mnist_lightning.common import tokens

MAX_STARTS = 3  # starts of one worker before the first prediction; TorchServe itself retries for minutes


def local_session() -> requests.Session:
    """Return an HTTP session for servers of this machine: it connects directly even if HTTP_PROXY is set."""
    http = requests.Session()
    http.trust_env = False
    return http


def is_ready(url: str, timeout: float = 10, token: str | None = None) -> bool:
    """Whether the server at `url`, on this machine, makes a prediction within `timeout` seconds."""
    one = [[255 if 4 <= row < 24 and 13 <= column < 16 else 0 for column in range(28)] for row in range(28)]
    endpoint, headers = f"{url}/predictions/mnist", tokens.auth_headers(token)
    with contextlib.suppress(requests.RequestException, ValueError), local_session() as http:  # of an invalid URL
        return http.post(endpoint, json={"image": one}, headers=headers, timeout=timeout).ok
    return False


@dataclass
class WorkerRestarts:
    """Counts how often a starting server's workers were restarted, by the management API at `url`."""

    url: str
    pids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))  # of each worker

    def startup_failure(self) -> str | None:
        """Return why the server cannot become ready, or None as long as it can. Call this several times a second."""
        try:
            with local_session() as http:
                response = http.get(f"{self.url}/models/mnist", timeout=2)
        except requests.RequestException:
            return None  # Java itself is starting
        if response.status_code == requests.codes.not_found:
            return "TorchServe rejects the archive; create it again with: python -m mnist_lightning.package"
        for worker in response.json()[0]["workers"] if response.ok else ():
            self.pids[worker["id"]].add(worker["pid"])
        starts = max((len(pids - {0, -1}) for pids in self.pids.values()), default=0)
        if starts < MAX_STARTS:
            return None
        return (
            f"the archive's handler fails: its worker ended {starts - 1} times before it was ready; see its error above"
        )
