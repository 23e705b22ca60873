"""Formats of optimized models, which are also the names of backends on predictions."""

from enum import StrEnum

# Backends that compute the original weights in 32-bit floats.
ORIGINAL_BACKENDS = frozenset({"torch", "torch-cuda", "torch-mps", "onnxruntime"})


class Format(StrEnum):
    """Runtime and precision of an optimized model."""

    OPENVINO_INT8 = "openvino-int8"
    OPENVINO_INT8_MIXED = "openvino-int8-mixed"  # sensitive layers in floating point
    OPENVINO = "openvino"  # half precision where the CPU has it, else 32-bit floats
    OPENVINO_FP32 = "openvino-fp32"
    ONNX_INT8 = "onnx-int8"
    ONNX = "onnx"
    # Half precision needs no files; what is stored is its parity report and its speed.
    OPENVINO_BF16 = "openvino-bf16"  # of the embedded model
    TORCH_BF16 = "torch-bf16"
    TORCH_CUDA_FP16 = "torch-cuda-fp16"
    TORCH_MPS_FP16 = "torch-mps-fp16"

    @property
    def runtime(self) -> str:
        """The Python package that computes it."""
        return {"openvino": "openvino", "onnx": "onnxruntime"}.get(self.partition("-")[0], "torch")

    @property
    def has_files(self) -> bool:
        """Whether it is a model on disk, written by `optimize`."""
        return self in FILES


OPENVINO_FILES = (
    Format.OPENVINO_INT8,
    Format.OPENVINO_INT8_MIXED,
    Format.OPENVINO,
    Format.OPENVINO_FP32,
)
FILES = (*OPENVINO_FILES, Format.ONNX_INT8, Format.ONNX)


def ladder(*, multiplies_int8: bool) -> tuple[Format, ...]:
    """The formats that `optimize` tries, from the fastest on a CPU to the most exact.

    Args:
        multiplies_int8: Whether the CPU has instructions for 8-bit dot products.
    """
    if multiplies_int8:
        return OPENVINO_FILES
    return Format.OPENVINO, Format.OPENVINO_FP32
