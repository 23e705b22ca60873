"""Export and quantization of a torch model to OpenVINO or ONNX files.

The exported model takes a batch of any size and returns probabilities. Where the preprocessing is
recorded, its input is 8-bit images, and it scales and normalizes them itself; else its input is the
output of the model's own image processor.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
import torch
from nncf.quantization.advanced_parameters import (
    AdvancedAccuracyRestorerParameters,
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
    OverflowFix,
)
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.backends import onnx_runtime, openvino_runtime
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.optimized_formats import Format
from nsfw_app.models.parity import MAX_CHANGED
from nsfw_app.models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

MULTIPLICATIONS = ["MatMul", "Gemm"]
EXAMPLES = 2  # images to trace with; with one, tracing would fix the batch size to one
MAX_RESTORED = 24  # layers that may be restored to floats; with more, little speed is left
RANKING_IMAGES = 16  # images that the sensitivity of layers is measured with
# A restored layer would keep the scales that SmoothQuant moved into its weights.
NO_SMOOTHING = AdvancedSmoothQuantParameters(matmul=-1, convolution=-1)
WEIGHTED = {"Convolution", "GroupConvolution", "MatMul"}
INPUT, OUTPUT = "pixels", "probabilities"


class ExportedModel(nn.Module):
    """A model with normalization before and softmax after it.

    Args:
        model: Takes `pixel_values`, shape (n, 3, height, width), and returns `logits`.
        preprocessing: How pixel values are computed from an 8-bit image; None where the model's
            own image processor computes them.
    """

    def __init__(self, model: nn.Module, preprocessing: Preprocessing | None) -> None:
        super().__init__()
        self.model = model
        self.scale = 0.0
        if preprocessing is not None:
            self.scale = preprocessing.scale
            self.mean = nn.Buffer(torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
            self.std = nn.Buffer(torch.tensor(preprocessing.std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities, shape (n, labels).

        Args:
            pixels: Shape (n, height, width, 3), 8-bit; or pixel values, (n, 3, height, width).
        """
        if self.scale:
            values = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale
            pixels = (values - self.mean) / self.std
        return torch.softmax(self.model(pixel_values=pixels).logits, dim=-1)


class Exporter:
    """Writes the files of optimized models.

    Args:
        model: A transformers image-classification model in 32-bit floats.
        preprocessing: Its recorded preprocessing; None for its own image processor.
        calibration: Prepared images; the value ranges of activations are measured on them.
        agreement: Takes indices of calibration images and probabilities of shape (n, labels) for
            them, and returns the share of labels that equal the original's, in [0, 1].
        narrow: Keep 8-bit weights within 7 bits. Without it, CPUs that have no instructions for
            8-bit dot products overflow.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing | None,
        *,
        calibration: Sequence[Pixels],
        agreement: Callable[[Sequence[int], Pixels], float],
        narrow: bool,
    ) -> None:
        self._exported = ExportedModel(model, preprocessing).eval()
        self._calibration = calibration
        self._agreement = agreement
        self._narrow = narrow
        self._writers: Mapping[Format, Callable[[Path], None]] = {
            Format.OPENVINO: self._openvino,
            Format.OPENVINO_FP32: self._openvino,
            Format.OPENVINO_INT8: self._openvino_int8,
            Format.OPENVINO_INT8_MIXED: self._openvino_int8_mixed,
            Format.ONNX: self._onnx,
            Format.ONNX_INT8: self._onnx_int8,
        }

    def write(self, kind: Format, directory: Path) -> None:
        """Write the files of one format into an empty directory.

        Raises:
            ModelUnsupported: The model cannot be exported in this format.
        """
        try:
            with _libraries_quiet(), torch.inference_mode():
                self._writers[kind](directory)
        except Exception as error:
            log.debug("Export to %s failed.", kind, exc_info=True)
            raise ModelUnsupported(
                f"The model cannot be exported to {kind}: {_first_line(error)}"
            ) from error

    @property
    def _example(self) -> torch.Tensor:
        shape = EXAMPLES, *self._calibration[0].shape
        return torch.from_numpy(np.zeros(shape, dtype=self._calibration[0].dtype))

    def _convert(self) -> openvino.Model:
        converted = openvino.convert_model(self._exported, example_input=self._example)
        converted.reshape([-1, *self._calibration[0].shape])
        converted.output(0).get_tensor().set_names({OUTPUT})  # NNCF finds the output by it
        return converted

    def _openvino(self, directory: Path) -> None:
        self._save(self._convert(), directory)

    def _openvino_int8(self, directory: Path) -> None:
        self._save(self._quantize(self._convert(), nncf.IgnoredScope()), directory)

    def _openvino_int8_mixed(self, directory: Path) -> None:
        """Keep the first and last layer in floats; if that is not enough, restore others, too."""
        model = self._convert()
        edges = nncf.IgnoredScope(names=_edges(model))
        quantized = self._quantize(model, edges)
        compiled = openvino.Core().compile_model(quantized, "CPU")
        agreement, _ = self._validate(compiled, self._indexed)
        if 1 - agreement > MAX_CHANGED:
            quantized = self._restore_layers(model, edges)
        self._save(quantized, directory)

    def _quantize(self, model: openvino.Model, floats: nncf.IgnoredScope) -> openvino.Model:
        return nncf.quantize(
            model,
            self._dataset,
            model_type=_model_type(model),
            ignored_scope=floats,
            subset_size=len(self._calibration),
            advanced_parameters=self._quantization,
        )

    def _restore_layers(self, model: openvino.Model, floats: nncf.IgnoredScope) -> openvino.Model:
        """Restore layers to floats, the most sensitive first, until enough labels agree."""
        return nncf.quantize_with_accuracy_control(
            model,
            self._dataset,
            nncf.Dataset(self._indexed, transform_func=itemgetter(1)),
            self._validate,
            max_drop=MAX_CHANGED,
            model_type=_model_type(model),
            ignored_scope=floats,
            subset_size=len(self._calibration),
            advanced_quantization_parameters=replace(
                self._quantization, smooth_quant_alphas=NO_SMOOTHING
            ),
            advanced_accuracy_restorer_parameters=AdvancedAccuracyRestorerParameters(
                max_num_iterations=MAX_RESTORED, ranking_subset_size=RANKING_IMAGES
            ),
        )

    def _validate(
        self, compiled: openvino.CompiledModel, indexed: Iterable[tuple[int, Pixels]]
    ) -> tuple[float, list[list[Pixels]]]:
        """The share of labels that agree, and the probabilities of each image."""
        rows = {n: np.array(next(iter(compiled(image).values()))) for n, image in indexed}
        agreement = self._agreement(list(rows), np.concatenate(list(rows.values())))
        return agreement, [[row] for row in rows.values()]

    def _save(self, model: openvino.Model, directory: Path) -> None:
        openvino.save_model(model, directory / openvino_runtime.MODEL, compress_to_fp16=False)

    @property
    def _indexed(self) -> list[tuple[int, Pixels]]:
        return list(enumerate(image[np.newaxis] for image in self._calibration))

    @property
    def _dataset(self) -> nncf.Dataset:
        return nncf.Dataset([image[np.newaxis] for image in self._calibration])

    @property
    def _quantization(self) -> AdvancedQuantizationParameters:
        return AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE if self._narrow else OverflowFix.DISABLE
        )

    def _onnx(self, directory: Path) -> None:
        program = torch.onnx.export(
            self._exported,
            (self._example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
        )
        if program is None:
            raise ModelUnsupported("torch exported no model.")
        program.save(directory / onnx_runtime.MODEL)

    def _onnx_int8(self, directory: Path) -> None:
        self._onnx(directory)
        path = directory / onnx_runtime.MODEL
        floats = onnx.load(path)
        del floats.graph.value_info[:]  # the exporter's shape records break the quantizer
        quantize_dynamic(
            floats,
            path,
            per_channel=True,
            reduce_range=self._narrow,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=MULTIPLICATIONS,
        )


def _edges(model: openvino.Model) -> list[str]:
    """The names of the first and last layer with weights, usually the most sensitive ones."""
    layers = [op for op in model.get_ordered_ops() if op.get_type_name() in WEIGHTED]
    return [op.get_friendly_name() for op in (layers[0], layers[-1])] if layers else []


def _model_type(model: openvino.Model) -> nncf.ModelType | None:
    """The model type for NNCF, which treats models with attention differently."""
    kinds = [node.get_type_name() for node in model.get_ops()]
    attends = kinds.count("Softmax") > 1 or "ScaledDotProductAttention" in kinds
    return nncf.ModelType.TRANSFORMER if attends else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@contextmanager
def _libraries_quiet() -> Iterator[None]:
    """Log only errors of the libraries, and show no progress bars of theirs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
