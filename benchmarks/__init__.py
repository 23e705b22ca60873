"""Measuring scripts: speed, load, long shifts and accuracy of downscaled decoding."""
