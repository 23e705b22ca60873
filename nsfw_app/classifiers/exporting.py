"""Turns a torch model into the files of a faster network.

The exported network takes 8-bit pictures, a batch of any size, and gives probabilities: scaling,
normalising and softmax are part of it, so that nothing of that is left to do outside.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino
import torch
from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from nsfw_app.classifiers import Pixels, onnx_network, openvino_network
from nsfw_app.classifiers.artefacts import Format
from nsfw_app.classifiers.preprocessing import Preprocessing
from nsfw_app.errors import ModelUnsupported

MULTIPLICATIONS = ["MatMul", "Gemm"]
EXAMPLES = 2  # pictures to trace with; one would be taken for a batch that is always of one
INPUT, OUTPUT = "pixels", "probabilities"


class Exported(nn.Module):
    """A model with all that happens before and after it.

    Args:
        model: Takes `pixel_values`, shape (n, 3, height, width), and gives `logits`.
        preprocessing: How its pixel values come from a picture.
    """

    def __init__(self, model: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.scale = preprocessing.scale
        self.mean = nn.Buffer(torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(preprocessing.std).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities, shape (n, labels), of pictures, shape (n, height, width, 3), 8-bit."""
        values = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.scale
        logits = self.model(pixel_values=(values - self.mean) / self.std).logits
        return torch.softmax(logits, dim=-1)


class Exporter:
    """Writes the files of faster networks.

    Args:
        model: A transformers image-classification model in 32-bit floats.
        preprocessing: How its pictures are prepared.
        calibration: Prepared pictures that say which ranges of numbers occur.
        narrow: Keep 8-bit weights within 7 bits. Without it, a CPU that has no instructions for
            8-bit dot products would overflow.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        *,
        calibration: Sequence[Pixels],
        narrow: bool,
    ) -> None:
        self._exported = Exported(model, preprocessing).eval()
        self._shape = preprocessing.shape
        self._calibration = calibration
        self._narrow = narrow
        self._writers: Mapping[Format, Callable[[Path], None]] = {
            Format.OPENVINO: self._openvino,
            Format.OPENVINO_INT8: self._openvino_int8,
            Format.ONNX: self._onnx,
            Format.ONNX_INT8: self._onnx_int8,
        }

    def write(self, kind: Format, directory: Path) -> None:
        """Write the files of one format into an empty directory.

        Raises:
            ModelUnsupported: The model cannot be exported like this.
        """
        try:
            with _quietly(), torch.inference_mode():
                self._writers[kind](directory)
        except (RuntimeError, ValueError, TypeError, AttributeError, nncf.ValidationError) as error:
            raise ModelUnsupported(f"The model cannot be turned into {kind}: {error}") from error

    @property
    def _example(self) -> torch.Tensor:
        return torch.zeros((EXAMPLES, *self._shape), dtype=torch.uint8)

    def _converted(self) -> openvino.Model:
        converted = openvino.convert_model(self._exported, example_input=self._example)
        converted.reshape([-1, *self._shape])
        return converted

    def _openvino(self, directory: Path) -> None:
        path = directory / openvino_network.MODEL
        openvino.save_model(self._converted(), path, compress_to_fp16=False)

    def _openvino_int8(self, directory: Path) -> None:
        pictures = nncf.Dataset([picture[np.newaxis] for picture in self._calibration])
        quantized = nncf.quantize(
            self._converted(),
            pictures,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(self._calibration),
            advanced_parameters=AdvancedQuantizationParameters(
                overflow_fix=OverflowFix.ENABLE if self._narrow else OverflowFix.DISABLE
            ),
        )
        path = directory / openvino_network.MODEL
        openvino.save_model(quantized, path, compress_to_fp16=False)

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
            raise ModelUnsupported("torch exported nothing.")
        program.save(directory / onnx_network.MODEL)

    def _onnx_int8(self, directory: Path) -> None:
        self._onnx(directory)
        path = directory / onnx_network.MODEL
        floats = onnx.load(path)
        del floats.graph.value_info[:]  # the exporter's notes on shapes break the quantizer
        quantize_dynamic(
            floats,
            path,
            per_channel=True,
            reduce_range=self._narrow,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=MULTIPLICATIONS,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Only errors of the libraries are told, and their progress goes where ours goes."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(before)
