#!/bin/sh
# curl: sh predict.sh http://127.0.0.1:8080 picture.png; MNIST_TOKEN is the token, if the server requires one.
# --fail-with-body (curl 7.76 or newer) prints an error, and makes its status the exit code 22.
exec curl --silent --show-error --fail-with-body --retry 3 -H "Authorization: Bearer $MNIST_TOKEN" \
  --data-binary "@$2" "$1/predictions/mnist"
