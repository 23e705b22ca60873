"""Untrusted bytes to upright sRGB pixels to previews, one step a module.

`decode` is the way in. `png`, `jpeg`, `webp`, `avif`, `heif` and `tiff` handle what is peculiar to
a format; `exif`, `color`, `grayscale` and `transparency` turn stored samples into what a browser
shows; `damage` recovers pixels from damaged files; `memory` says how many pixels a decoder may be
given. `previews` makes what people look at, `fetch` gets images by URL.
"""
