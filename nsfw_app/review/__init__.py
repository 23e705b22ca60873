"""Owns what happens to an image and to a decision.

`engine` is the facade. Below it: `policies` in force, the `pipeline` from bytes to a prediction,
`predictions` (stored or computed), `previews`, the `queue`, `submissions`,
`webhooks`; `image_json`, `exports` and `csv_lines` are the formats of results.
"""
