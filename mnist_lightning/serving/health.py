"""Whether a server predicts; and of one that is starting, whether it ever will."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field

import requests

from mnist_lightning.common import tokens

STARTS = 3  # of one worker, before a prediction came; TorchServe itself goes on for minutes


def answers(url: str, timeout: float = 10, token: str | None = None) -> bool:
    """Whether the server at `url` makes a prediction within `timeout` seconds."""
    one = [[255 if 4 <= row < 24 and 13 <= column < 16 else 0 for column in range(28)] for row in range(28)]
    address, headers = f"{url}/predictions/mnist", tokens.headers(token)
    with contextlib.suppress(requests.RequestException):
        return requests.post(address, json={"image": one}, headers=headers, timeout=timeout).ok
    return False


@dataclass
class Starts:
    """How often each worker of a server was started, as its management API at `url` tells."""

    url: str
    processes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def hopeless(self) -> str | None:
        """Why no prediction will ever come, as soon as that is plain. To be asked several times a second."""
        try:
            told = requests.get(f"{self.url}/models/mnist", timeout=2)
        except requests.RequestException:
            return None  # Java itself is starting
        if told.status_code == requests.codes.not_found:
            return "TorchServe does not take the archive; make it anew with: python -m mnist_lightning.package"
        for worker in told.json()[0]["workers"] if told.ok else ():
            self.processes[worker["id"]].add(worker["pid"])
        starts = max((len(found - {0, -1}) for found in self.processes.values()), default=0)
        if starts < STARTS:
            return None
        return f"the archive's handler fails: its worker ended {starts - 1} times before it was ready; see why above"
