"""Export of a torch model to OpenVINO or ONNX files; `quantization` makes the int8 formats.

The exported model takes a batch of any size and returns probabilities. Where the preprocessing is
recorded, its input is 8-bit images, and it scales and normalizes them itself; else its input is the
output of the model's own image processor.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import nn

from nsfw_app.errors import ModelUnsupported
from nsfw_app.models.backends import onnx_runtime, openvino_runtime
from nsfw_app.models.classifier import Pixels
from nsfw_app.models.optimize.quantization import Quantizer
from nsfw_app.models.optimized_formats import Format
from nsfw_app.models.preprocessing import Preprocessing

log = logging.getLogger(__name__)

EXAMPLES = 2  # images to trace with; with one, tracing would fix the batch size to one
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
        calibration: Prepared images, see `Quantizer`.
        agreement: See `Quantizer`.
        reduce_range: See `Quantizer`.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing | None,
        *,
        calibration: Sequence[Pixels],
        agreement: Callable[[Sequence[int], Pixels], float],
        reduce_range: bool,
    ) -> None:
        self._exported = ExportedModel(model, preprocessing).eval()
        self._input = calibration[0]
        self._quantizer = Quantizer(
            calibration=calibration, agreement=agreement, reduce_range=reduce_range
        )
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
            OSError: The directory cannot be written.
        """
        try:
            with _libraries_quiet(), torch.inference_mode():
                self._writers[kind](directory)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            log.debug("Export to %s failed.", kind, exc_info=True)
            raise ModelUnsupported(
                f"The model cannot be exported to {kind}: {_first_line(error)}"
            ) from error

    @property
    def _example(self) -> torch.Tensor:
        shape = EXAMPLES, *self._input.shape
        return torch.from_numpy(np.zeros(shape, dtype=self._input.dtype))

    def _convert(self) -> openvino.Model:
        converted = openvino.convert_model(self._exported, example_input=self._example)
        converted.reshape([-1, *self._input.shape])
        converted.output(0).get_tensor().set_names({OUTPUT})  # NNCF finds the output by it
        return converted

    def _openvino(self, directory: Path) -> None:
        self._save(self._convert(), directory)

    def _openvino_int8(self, directory: Path) -> None:
        self._save(self._quantizer.quantize(self._convert()), directory)

    def _openvino_int8_mixed(self, directory: Path) -> None:
        self._save(self._quantizer.quantize_mixed(self._convert()), directory)

    def _save(self, model: openvino.Model, directory: Path) -> None:
        openvino.save_model(model, directory / openvino_runtime.MODEL, compress_to_fp16=False)

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
        self._quantizer.quantize_onnx(directory / onnx_runtime.MODEL)


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
