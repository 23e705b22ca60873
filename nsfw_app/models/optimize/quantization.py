"""Quantization of exported models to 8-bit integers, calibrated on images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
from nncf.quantization.advanced_parameters import (
    AdvancedAccuracyRestorerParameters,
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
    OverflowFix,
)
from onnxruntime.quantization import QuantType, quantize_dynamic

from nsfw_app.models.classifier import Pixels
from nsfw_app.models.parity import MAX_CHANGED

MULTIPLICATIONS = ["MatMul", "Gemm"]
MAX_RESTORED = 24  # layers that may be restored to floats; with more, little speed is left
RANKING_IMAGES = 16  # images that the sensitivity of layers is measured with
# A restored layer would keep the scales that SmoothQuant moved into its weights.
NO_SMOOTHING = AdvancedSmoothQuantParameters(matmul=-1, convolution=-1)
WEIGHTED = {"Convolution", "GroupConvolution", "MatMul"}


class Quantizer:
    """Quantizes OpenVINO and ONNX models.

    Args:
        calibration: Prepared images; the value ranges of activations are measured on them.
        agreement: Takes indices of calibration images and probabilities of shape (n, labels) for
            them, and returns the share of labels that equal the original's, in [0, 1].
        reduce_range: Keep 8-bit weights within 7 bits. Without it, CPUs that have no instructions
            for 8-bit dot products overflow.
    """

    def __init__(
        self,
        *,
        calibration: Sequence[Pixels],
        agreement: Callable[[Sequence[int], Pixels], float],
        reduce_range: bool,
    ) -> None:
        self._calibration = calibration
        self._agreement = agreement
        self._reduce_range = reduce_range

    def quantize(self, model: openvino.Model) -> openvino.Model:
        """Quantize all layers."""
        return self._quantize(model, nncf.IgnoredScope())

    def quantize_mixed(self, model: openvino.Model) -> openvino.Model:
        """Keep the first and last layer in floats; if too few labels agree, restore others too."""
        edges = nncf.IgnoredScope(names=_edges(model))
        quantized = self._quantize(model, edges)
        compiled = openvino.Core().compile_model(quantized, "CPU")
        agreement, _ = self._validate(compiled, self._indexed)
        if 1 - agreement > MAX_CHANGED:
            return self._restore_layers(model, edges)
        return quantized

    def quantize_onnx(self, path: Path) -> None:
        """Quantize the weights of an ONNX file in place."""
        floats = onnx.load(path)
        del floats.graph.value_info[:]  # the exporter's shape records break the quantizer
        quantize_dynamic(
            floats,
            path,
            per_channel=True,
            reduce_range=self._reduce_range,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=MULTIPLICATIONS,
        )

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

    @property
    def _indexed(self) -> list[tuple[int, Pixels]]:
        return list(enumerate(image[np.newaxis] for image in self._calibration))

    @property
    def _dataset(self) -> nncf.Dataset:
        return nncf.Dataset([image[np.newaxis] for image in self._calibration])

    @property
    def _quantization(self) -> AdvancedQuantizationParameters:
        return AdvancedQuantizationParameters(
            overflow_fix=OverflowFix.ENABLE if self._reduce_range else OverflowFix.DISABLE
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
