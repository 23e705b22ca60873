"""Backends: one module for each runtime that computes a model's scores."""
