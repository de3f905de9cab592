"""Names and addresses that more than one package uses."""

LOOPBACK = "127.0.0.1"
MODEL_NAME, MODEL_VERSION = "mnist", "1.0"  # as TorchServe knows the archive
ARCHIVE, DESCRIPTION = "mnist.mar", "mnist.json"  # in a model store: the archive, and where it comes from
MAX_REQUEST_BYTES = 10_485_760  # of a request's body, as max_request_size in config.properties
# Inside the archive: the model that is served, and the weights that it was exported from, for explanations.
EXPORTED, WEIGHTS = "mnist.onnx", "mnist.pt"
# Names in the exported model: its input and outputs, and two properties of its metadata.
IMAGE_INPUT, PROBABILITIES_OUTPUT, IS_DIGIT_OUTPUT = "image", "probabilities", "is_digit"
THRESHOLD_PROPERTY, WEIGHTS_PROPERTY = "threshold", "weights"
# In the archive: what the answers to validation images look like. In a server's folder: what replaces it; the folder of
# the challenger, with its shares; and the file that ends its canary.
REFERENCE, RECORDED_REFERENCE = "reference.json", "recorded-reference.json"
CHALLENGER, SHARES, CANARY_ENDED = "challenger", "shares.json", "canary-ended"
# Metrics of drift: pictures by feature and bin, and the same of the reference.
FEATURES_METRIC, REFERENCE_METRIC = "mnist_features_total", "mnist_features_reference"
FEEDBACK_LABELS, FEEDBACK_LOCK = "labels.jsonl", ".lock"  # in a feedback folder, beside its pictures
