"""Names and addresses that more than one package uses."""

LOOPBACK = "127.0.0.1"
ARCHIVE = "mnist.mar"  # the archive in a model store
WEIGHTS = "mnist.pt"  # the serialized file inside the archive
