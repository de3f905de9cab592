"""Names and addresses that more than one package uses."""

LOOPBACK = "127.0.0.1"
ARCHIVE = "mnist.mar"  # the archive in a model store
# Inside the archive: the model that is served, and the weights that it was exported from, for explanations.
EXPORTED, WEIGHTS = "mnist.onnx", "mnist.pt"
# Names in the exported model: its input and outputs, and two properties of its metadata.
IMAGE_INPUT, PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT = "image", "probabilities", "is_digit"
THRESHOLD_PROPERTY, WEIGHTS_PROPERTY = "threshold", "weights"
