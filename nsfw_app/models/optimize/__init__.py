"""Optimized models: export, quantization, measured speed, and calibration of downscaling."""
