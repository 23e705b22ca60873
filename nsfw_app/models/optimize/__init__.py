"""Optimized models: export, quantization to int8, measured speed, calibration of downscaling."""
