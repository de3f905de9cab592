"""A server as tests reach it below HTTP: its connections and its worker."""

import socket
from urllib.parse import urlsplit

import psutil
import requests

from mnist_lightning.serving.config import OFFSETS
from mnist_lightning.serving.torchserve import Server


def connect(server: Server) -> socket.socket:
    """A connection to the inference port."""
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port or 0), timeout=30)


def worker(server: Server) -> psutil.Process:
    """The first worker's process."""
    port = (urlsplit(server.url).port or 0) + OFFSETS["management"]
    (described,) = requests.get(f"http://127.0.0.1:{port}/models/mnist", timeout=10).json()
    return psutil.Process(described["workers"][0]["pid"])
