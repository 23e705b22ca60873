"""Routes of the page, below /desk, and uploads of gradio_client."""
