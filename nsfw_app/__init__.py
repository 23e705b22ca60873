"""NSFW Review: classify images, collect reviewers' decisions, export corrections."""

__version__ = "0.1.0"
