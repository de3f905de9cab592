"""Clients of other projects, as a process in an environment of their own (requirements-clients.txt).

    python tests/server/foreign_clients.py CLIENT URL GRPC_ADDRESS PICTURE

It prints one JSON object: what each call of CLIENT returned, or the error that it raised.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Calls = dict[str, Callable[[], Any]]
BAR = np.zeros((1, 28, 28), np.float32)  # a 1
BAR[0, 4:24, 13:16] = 1


def triton(kind: str, address: str, picture: bytes) -> Calls:
    """tritonclient, by HTTP or gRPC: its defaults are binary tensors."""
    module = import_module(f"tritonclient.{kind}")
    client = module.InferenceServerClient(address)

    def tensor(values: Any, datatype: str, **options: Any) -> list[Any]:
        made = module.InferInput("images", values.shape, datatype)
        made.set_data_from_numpy(values, **options)
        return [made]

    def infer(inputs: list[Any], **options: Any) -> int:
        return int(client.infer("mnist", inputs, **options).as_numpy("prediction")[0])

    def outputs() -> list[Any]:
        names = ["number", "probabilities", "digit_box"]
        wanted = [module.InferRequestedOutput(name) for name in names]
        pictures = np.array([picture, picture], dtype=object)
        found = client.infer("mnist", tensor(pictures, "BYTES"), outputs=wanted, request_id="é 1")
        response = found.get_response()
        arrays = [found.as_numpy(name) for name in names]
        request_id = response["id"] if isinstance(response, dict) else response.id
        return [request_id, [text.decode() for text in arrays[0]], *(list(array.shape) for array in arrays[1:])]

    def metadata() -> dict[str, Any]:
        options = {"as_json": True} if kind == "grpc" else {}
        found = client.get_model_metadata("mnist", "1.0", **options)
        tensors = {tensor["name"]: [tensor["datatype"], *map(int, tensor["shape"])] for tensor in found["outputs"]}
        return {"name": found["name"], "versions": found["versions"], "input": found["inputs"][0]["name"], **tensors}

    compression = {"request_compression_algorithm": "gzip"} if kind == "http" else {"compression_algorithm": "gzip"}
    json_only: Calls = {"infer JSON": lambda: infer(tensor(BAR, "FP32", binary_data=False))} if kind == "http" else {}
    return {
        "is_server_live": client.is_server_live,
        "is_server_ready": client.is_server_ready,
        "is_model_ready": lambda: client.is_model_ready("mnist"),
        "is_model_ready 1.0": lambda: client.is_model_ready("mnist", "1.0"),
        "is_model_ready 9.9": lambda: client.is_model_ready("mnist", "9.9"),
        "get_server_metadata": lambda: bool(client.get_server_metadata()),
        "get_model_metadata": metadata,
        "infer": lambda: infer(tensor(BAR, "FP32")),
        "infer 1.0": lambda: infer(tensor(BAR, "FP32"), model_version="1.0"),
        "infer uint8": lambda: infer(tensor((BAR * 255).astype(np.uint8), "UINT8")),
        "infer compressed": lambda: infer(tensor(BAR, "FP32"), **compression),
        "infer outputs": outputs,
        "infer a wrong shape": lambda: infer(tensor(np.zeros((2, 3), np.float32), "FP32")),
        "infer another model": lambda: client.infer("nobody", tensor(BAR, "FP32")),
        **json_only,
    }


def kserve(kind: str, address: str, picture: bytes) -> Calls:
    """KServe's clients: REST with protocol v1 or v2, or gRPC."""
    module = import_module("kserve")

    def request(values: Any, datatype: str, *, binary: bool) -> Any:
        tensor = module.InferInput("images", list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        return module.InferRequest("mnist", [tensor])

    async def call(function: Callable[[Any], Any]) -> Any:
        if kind == "grpc":
            async with module.InferenceGRPCClient(address) as client:
                return await function(client)
        return await function(module.InferenceRESTClient(module.RESTConfig(protocol=kind)))

    def run(function: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: asyncio.run(call(function))

    def infer(values: Any, datatype: str, *, binary: bool) -> Callable[[], Any]:
        async def ask(client: Any) -> int:
            options = {"model_name": "mnist"} if kind == "v2" else {}
            where = [address] if kind == "v2" else []
            answer = await client.infer(*where, request(values, datatype, binary=binary), **options)
            return int(answer.outputs[0].as_numpy()[0])

        return run(ask)

    where = [] if kind == "grpc" else [address]
    calls: Calls = {
        "is_server_live": run(lambda client: client.is_server_live(*where)),
        "is_model_ready": run(lambda client: client.is_model_ready(*where, "mnist")),
    }
    if kind == "v1":
        body = {"instances": [BAR[0].tolist()]}
        return calls | {
            "infer": run(lambda client: client.infer(address, body, model_name="mnist")),
            "explain": run(lambda client: client.explain(address, "mnist", body)),
        }
    return calls | {
        "is_server_ready": run(lambda client: client.is_server_ready(*where)),
        "infer binary": infer(BAR, "FP32", binary=True),
        "infer JSON": infer(BAR, "FP32", binary=False),
        "infer a file": infer(np.array([picture], dtype=object), "BYTES", binary=True),
        "infer a wrong shape": infer(np.zeros((2, 3), np.float32), "FP32", binary=True),
    }


def outcome(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except Exception as error:  # whatever a client raises is its answer
        return {"raised": type(error).__name__, "message": str(error)}


def main() -> None:
    """Call everything that a client has."""
    client, url, grpc, picture = sys.argv[1:]
    name, kind = client.split("-")
    address = grpc if kind == "grpc" else url.removeprefix("http://") if name == "tritonclient" else url
    calls = {"tritonclient": triton, "kserve": kserve}[name](kind, address, Path(picture).read_bytes())
    print(json.dumps({call: outcome(function) for call, function in calls.items()}))  # noqa: T201 - read by the test


if __name__ == "__main__":
    main()
