"""Serves the page: settings, engine, page, web application, in this order.

Whatever Gradio would tell others at start stays untold, and its folder for uploads is private,
inside the data directory, and emptied first: what lies there could be asked for.
"""

import os
import shutil
import socket
import sys
import threading

from nsfw_app import settings
from nsfw_app.assembly import open_engine
from nsfw_app.engine import Engine
from nsfw_app.errors import NSFWReviewError
from nsfw_app.settings import EVERYWHERE, Settings

BACKLOG = 2048  # connections that may wait; uvicorn's own default


def main() -> None:
    """Serve until interrupted."""
    try:
        chosen = settings.load()
        engine = open_engine(chosen)
    except NSFWReviewError as error:
        sys.exit(f"Error: {error}")
    try:
        listener = socket.create_server((chosen.host, chosen.port), backlog=BACKLOG)
    except OSError as error:
        address = f"{chosen.host}:{chosen.port}"
        sys.exit(f"Error: {address} cannot be served: {error.strerror}. Set NSFW_PORT to another.")
    shutil.rmtree(chosen.uploads_dir, ignore_errors=True)
    chosen.uploads_dir.mkdir(mode=0o700, parents=True)
    os.environ.update(
        GRADIO_TEMP_DIR=str(chosen.uploads_dir.resolve()), GRADIO_ANALYTICS_ENABLED="False"
    )

    import uvicorn  # after the environment is set, which Gradio reads when it is imported

    from nsfw_app.ui import build_ui
    from nsfw_app.web.app import create_app

    app = create_app(engine, settings=chosen, page=build_ui(engine))
    greet(chosen, listener.getsockname()[1])
    threading.Thread(target=tell_model, args=[engine], daemon=True).start()
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


def greet(chosen: Settings, port: int) -> None:
    """Say where the page is, which model was asked for, and where the data lies."""
    host = "127.0.0.1" if chosen.host == EVERYWHERE else chosen.host
    print(f"Page:  http://{host}:{port}")
    print(f"Data:  {chosen.data_dir.resolve()}", flush=True)
    if not chosen.local_only:
        print(
            f"Open:  {chosen.host} can be reached from other machines, and there is no login. "
            "Whoever reaches it can have images judged and see their own; only the Model tab's "
            "policy and the log of others are closed to them.",
            flush=True,
        )


def tell_model(engine: Engine) -> None:
    """Load the model beside the page, and say which one it is."""
    status = engine.wait()
    if status.classifier is None:
        print(f"Error: {status.message}", file=sys.stderr, flush=True)
        return
    identity = status.classifier.identity
    print(f"Model: {identity.model}, revision {identity.revision}, {identity.backend}", flush=True)
    if status.message:
        print(f"       {status.message}", flush=True)


if __name__ == "__main__":
    main()
