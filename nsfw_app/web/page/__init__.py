"""Routes of the page, mounted at /desk: one module per noun; and uploads of gradio_client."""
