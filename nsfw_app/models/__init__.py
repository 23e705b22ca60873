"""Everything with weights: model cards, loading, scheduling, backends and optimized models."""
