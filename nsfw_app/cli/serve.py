"""`serve`: serve the page and the REST API."""


def serve() -> None:
    """Serve the page and the REST API until interrupted. Configured by NSFW_ variables."""
    from nsfw_app import server  # imports that the other commands do without

    server.main()
