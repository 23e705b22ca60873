"""Owns what decisions prove: agreement between reviewers, and error rates of a model."""
