"""Size limits of requests, derived from the largest accepted file."""

from dataclasses import dataclass

from nsfw_app.web.http.json_scanner import OUTLINE_BYTES, JsonLimits

MAX_IMAGES = 64  # in one request
IMAGE_BYTES = 1_500_000  # of each in a full request: a JPEG of 12 megapixels
BASE64 = 1.43  # bytes of text for a byte: 4/3, and 7 % for line breaks or escaped slashes
PART_BYTES = 4_096  # overhead of one part of a form
MAX_FIELDS = 8  # of a form, besides files
FILES_AT_ONCE = 4  # of the largest size, from one caller concurrently
JSON_PARTS = 4_096  # 64 images need 900


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits of requests that carry images.

    Args:
        file_bytes: The largest file.
    """

    file_bytes: int

    @property
    def files_bytes(self) -> int:
        """All images of one request: 64 of `IMAGE_BYTES`, or one of the largest size."""
        return max(self.file_bytes, MAX_IMAGES * min(self.file_bytes, IMAGE_BYTES))

    @property
    def form_bytes(self) -> int:
        """A body in multipart/form-data."""
        return self.files_bytes + (MAX_IMAGES + MAX_FIELDS) * PART_BYTES

    @property
    def json_bytes(self) -> int:
        """A body in JSON, whose images are base64."""
        return int(BASE64 * self.files_bytes) + OUTLINE_BYTES

    @property
    def json(self) -> JsonLimits:
        """Structure of such a body."""
        return JsonLimits(JSON_PARTS, max_text_bytes=int(BASE64 * self.file_bytes) + PART_BYTES)

    @property
    def caller_bytes(self) -> int:
        """All bodies of one caller that are received or classified."""
        return max(self.json_bytes, self.form_bytes, FILES_AT_ONCE * self.file_bytes)
