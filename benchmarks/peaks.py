"""The CPU's peak of matrix multiplication, by precision, on large square matrices."""

import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from nsfw_app import system

SIDE = 2048
TRIES = 8
OPERATIONS = 2 * SIDE**3


def matmul_gops(threads: int) -> dict[str, float]:
    """Billions of operations a second by precision; the best of several tries."""
    torch.set_num_threads(threads)
    one, other = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    found = {"fp32": _gops(lambda: one @ other)}
    if system.cpu().multiplies_bf16:
        one16, other16 = one.bfloat16(), other.bfloat16()
        found["bf16"] = _gops(lambda: one16 @ other16)
    return found | {"int8": _gops(_int8_product(threads))}


def _gops(multiply: Callable[[], object]) -> float:
    multiply()
    best = np.inf
    for _ in range(TRIES):
        start = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - start)
    return round(OPERATIONS / best / 1e9)


def _int8_product(threads: int) -> Callable[[], object]:
    """A product of 8-bit integers in ONNX Runtime, which has the fastest kernels measured."""
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (SIDE, SIDE), dtype=np.int8)
    pixels = generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["pixels", "weights"], ["sums"])],
        "product",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, weights.shape)],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, weights.shape)],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return lambda: session.run(None, {"pixels": pixels})
