"""What happens between untrusted bytes and upright sRGB pixels, one step a module.

`png`, `jpeg`, `webp`, `avif` and `tiff` handle what is peculiar to a format; `exif`, `color`,
`grayscale` and `transparency` turn what was stored into what is shown; `damage` recovers pixels
from damaged files; `memory` says how many pixels a decoder may be given. `images` joins them.
"""
