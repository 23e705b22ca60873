"""Optimized models: export, quantization, speed, and calibration of downscaling."""
