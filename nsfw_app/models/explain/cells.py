"""Cells of an image: a grid over the whole image, and the pixels of the model's input in each cell.

Cells are covered in the model's input, so that a covered version costs no decoding and no resizing.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from nsfw_app.models.classifier import Box, Pixels

Covered = NDArray[np.bool_]  # shape (rows, columns): which cells are covered
Values = NDArray[np.float64]  # shape (rows, columns): one number for each cell

# The standard deviation of the blur, as a part of the image's longer side. What is covered is
# replaced by the image so blurred that details are gone and colors stay: a flat color would add
# edges that the model may take for evidence.
# Source: Fong and Vedaldi (2017), "Interpretable explanations of black boxes by meaningful
# perturbation".
BLUR = 1 / 8
BLURRED_SIDE = 64  # pixels of the longer side on which the blur is computed


def blurred(image: Image.Image) -> Image.Image:
    """What covered cells show: the image without details, small."""
    scale = BLURRED_SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    return small.filter(ImageFilter.GaussianBlur(BLUR * BLURRED_SIDE))


@dataclass(frozen=True, slots=True)
class Cells:
    """A grid over an image, in which each pixel of the model's input has its cell.

    - `row_of` has the row of each line of the input's pixels, `column_of` the column of each
      column of pixels.
    - `channels_first` is whether the input's shape is (3, height, width).
    """

    rows: int
    columns: int
    row_of: NDArray[np.intp]
    column_of: NDArray[np.intp]
    channels_first: bool

    @classmethod
    def over(cls, prepared: Pixels, box: Box, *, rows: int, columns: int) -> Self:
        """A grid over an image.

        Args:
            prepared: The model's input for the image.
            box: The part of the image that it shows, see `Backend.visible_box`.
            rows: Of the grid.
            columns: Of the grid.
        """
        channels_first = prepared.shape[0] == 3 and prepared.shape[2] != 3
        height, width = prepared.shape[1:] if channels_first else prepared.shape[:2]
        left, top, right, bottom = box
        return cls(
            rows,
            columns,
            _cell_of(height, top, bottom, rows),
            _cell_of(width, left, right, columns),
            channels_first,
        )

    @property
    def visible(self) -> Covered:
        """Which cells the model sees, at least a part of; the others are cropped."""
        rows = np.isin(np.arange(self.rows), self.row_of)
        columns = np.isin(np.arange(self.columns), self.column_of)
        return rows[:, None] & columns[None, :]

    def cover(self, prepared: Pixels, cover: Pixels, covered: Covered) -> Pixels:
        """The model's input with some cells covered.

        Args:
            prepared: The input for the image.
            cover: The input for `blurred`.
            covered: Which cells show `cover`.
        """
        mask = covered[self.row_of[:, None], self.column_of[None, :]]
        mask = mask[None] if self.channels_first else mask[..., None]
        pixels: Pixels = np.where(mask, cover, prepared)
        return pixels

    def average(self, patches: Values) -> Values:
        """A map over the model's input as one over the image's cells; 0 in cropped cells.

        Args:
            patches: A map of any shape over the input.
        """
        height, width = len(self.row_of), len(self.column_of)
        rows = np.arange(height) * patches.shape[0] // height
        columns = np.arange(width) * patches.shape[1] // width
        pixels = patches[rows[:, None], columns[None, :]]
        cell = self.row_of[:, None] * self.columns + self.column_of[None, :]
        count = self.rows * self.columns
        sums = np.bincount(cell.ravel(), pixels.ravel(), count)
        sizes = np.bincount(cell.ravel(), minlength=count)
        return (sums / np.maximum(sizes, 1)).reshape(self.rows, self.columns)


def _cell_of(pixels: int, start: float, end: float, cells: int) -> NDArray[np.intp]:
    """The cell of each pixel along one side; `start` and `end` are parts of the image's side."""
    centers = start + (np.arange(pixels) + 0.5) / pixels * (end - start)
    return np.clip((centers * cells).astype(np.intp), 0, cells - 1)
