"""What a model can be computed with: the names of backends and of optimized models' formats."""

from enum import StrEnum

# Backends that compute the original in 32-bit floats.
ORIGINAL_BACKENDS = frozenset({"torch", "torch-cuda", "torch-mps", "onnxruntime"})


class Format(StrEnum):
    """What a model can be turned into; also the backend's name on its predictions."""

    OPENVINO_INT8 = "openvino-int8"
    OPENVINO_INT8_MIXED = "openvino-int8-mixed"  # its sensitive layers in floats
    OPENVINO = "openvino"  # 16-bit floats where the CPU has them, else 32-bit
    OPENVINO_FP32 = "openvino-fp32"
    ONNX_INT8 = "onnx-int8"
    ONNX = "onnx"
    # A model in half precision: no files, only the scores and speeds that say whether it may run.
    OPENVINO_BF16 = "openvino-bf16"  # of the embedded model
    TORCH_BF16 = "torch-bf16"
    TORCH_CUDA_FP16 = "torch-cuda-fp16"
    TORCH_MPS_FP16 = "torch-mps-fp16"

    @property
    def runtime(self) -> str:
        """The package that computes it."""
        return {"openvino": "openvino", "onnx": "onnxruntime"}.get(self.partition("-")[0], "torch")

    @property
    def has_files(self) -> bool:
        """Whether it is a model on disk, made by `optimize`."""
        return self in FILES


OPENVINO_FILES = (
    Format.OPENVINO_INT8,
    Format.OPENVINO_INT8_MIXED,
    Format.OPENVINO,
    Format.OPENVINO_FP32,
)
FILES = (*OPENVINO_FILES, Format.ONNX_INT8, Format.ONNX)


def ladder(*, multiplies_int8: bool) -> tuple[Format, ...]:
    """The formats that `optimize` tries, from the fastest on a CPU to the most exact."""
    if multiplies_int8:
        return OPENVINO_FILES
    return Format.OPENVINO, Format.OPENVINO_FP32
