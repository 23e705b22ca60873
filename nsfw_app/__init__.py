"""NSFW Review: judge images with a model, let people answer, keep what they say."""

__version__ = "0.1.0"
