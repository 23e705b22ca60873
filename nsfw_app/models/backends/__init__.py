"""Backends: one module for each runtime that computes models."""
