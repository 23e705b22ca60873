"""Small real files of every supported format, made from a photo.

`FILES` holds one or more files of each format: compressed in its usual ways, with one frame and
with several, and with the metadata that cameras write.
"""

import io
import struct
import zlib
from importlib import resources

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def sample_photo(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A cup of coffee on a table, RGB."""
    with (
        resources.as_file(resources.files("skimage") / "data" / "coffee.png") as path,
        Image.open(path) as image,
    ):
        return image.convert("RGB").resize(size)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The image encoded in a format; HEIC has Pillow's name, HEIF."""
    buffer = io.BytesIO()
    if image_format == "HEIF":
        heif = pillow_heif.from_pillow(image.copy())
        for following in options.pop("append_images", ()):
            heif.add_from_pillow(following)
        heif.save(buffer, **options)
    else:
        image.copy().save(buffer, image_format, **options)
    return buffer.getvalue()


def animated(frames: list[Image.Image], image_format: str, **options: object) -> bytes:
    """A file that holds all the frames."""
    following = [frame.copy() for frame in frames[1:]]
    return encoded(frames[0], image_format, save_all=True, append_images=following, **options)


def grays(count: int, size: tuple[int, int] = (24, 16)) -> list[Image.Image]:
    """Plain frames, each identified by its gray level; see `level`."""
    return [Image.new("L", size, level(number)).convert("RGB") for number in range(count)]


def level(number: int) -> int:
    """The gray level of frame `number`, below 256 for up to 50 frames."""
    return 5 * number + 5


def png(
    size: tuple[int, int], *, depth: int, color: int, chunks: list[tuple[bytes, bytes]]
) -> bytes:
    """A PNG built from chunks, for types that Pillow does not write. `color` is the color type."""
    header = struct.pack(">IIBBBBB", *size, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def camera_exif(orientation: int, secret: str = "") -> Image.Exif:
    """EXIF as a phone writes it: orientation, author and place."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    if secret:
        exif[ExifTags.Base.Artist] = secret
        exif[ExifTags.Base.Make] = secret
        place = exif.get_ifd(ExifTags.IFD.GPSInfo)
        place[ExifTags.GPS.GPSLatitudeRef] = "N"
        place[ExifTags.GPS.GPSLatitude] = (48.0, 8.0, 14.0)
        place[ExifTags.GPS.GPSAreaInformation] = secret.encode()
    return exif


def srgb_profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _files() -> dict[str, bytes]:
    photo = sample_photo()
    frames = [photo.rotate(15 * turn, fillcolor="black") for turn in range(4)]
    deep = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    exif = camera_exif(6, secret="camera")
    return {
        "jpeg": encoded(photo, "JPEG", exif=exif, comment=b"by hand", icc_profile=srgb_profile()),
        "jpeg-progressive": encoded(photo, "JPEG", progressive=True),
        "jpeg-cmyk": encoded(photo.convert("CMYK"), "JPEG"),
        "mpo": animated(frames[:2], "MPO"),
        "png": encoded(photo, "PNG", exif=exif),
        "png-palette": encoded(photo.quantize(16), "PNG", transparency=3),
        "png-16-bit": encoded(deep, "PNG"),
        "apng": animated(frames, "PNG"),
        "webp": encoded(photo, "WEBP", exif=exif),
        "webp-lossless": encoded(photo.convert("RGBA"), "WEBP", lossless=True),
        "webp-animated": animated(frames, "WEBP"),
        "gif": encoded(photo, "GIF", comment=b"by hand"),
        "gif-animated": animated(frames, "GIF"),
        "bmp": encoded(photo, "BMP"),
        "bmp-palette": encoded(photo.quantize(16), "BMP"),
        "dib": encoded(photo, "DIB"),
        "tiff": encoded(photo, "TIFF", exif=exif),
        "tiff-lzw": encoded(photo, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": encoded(photo, "TIFF", compression="jpeg"),
        "tiff-fax": encoded(photo.convert("1"), "TIFF", compression="group4"),
        "tiff-float": encoded(photo.convert("F"), "TIFF"),
        "tiff-pages": animated(frames, "TIFF", compression="tiff_adobe_deflate"),
        "avif": encoded(photo, "AVIF", exif=exif),
        "avif-animated": animated(frames, "AVIF"),
        "heic": encoded(photo, "HEIF", exif=exif.tobytes()),
        "heic-several": animated(frames[:2], "HEIF"),
    }


FILES = _files()
