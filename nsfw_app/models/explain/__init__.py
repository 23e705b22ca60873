"""Explanations: which parts of an image a model's nsfw score depends on, as a map of cells.

- An explanation is evidence of the model, not of the image.
- Every method needs the model's scores only, except `attribution`, which needs a ViT in PyTorch.
- A map that is no better than a random one says so, see `faithfulness`.
"""
