"""Decodes untrusted image files to upright sRGB pixels, and makes previews of them.

- `decode` is the entry point; `file_decoder` holds the steps for one file.
- `formats` lists the supported formats; to add one, start there. `png`, `jpeg_segments`, `gif`,
  `webp`, `avif`, `heif` and `tiff` handle the peculiarities of a format.
- `exif`, `color`, `icc`, `grayscale` and `transparency` convert stored samples to the colors that a
  browser shows; `rendering` applies them to a frame.
- `damage` recovers pixels from damaged files; `memory` limits the pixels of each decoder.
- `previews` makes previews and placeholders; `fetch` downloads images by URL.
"""
