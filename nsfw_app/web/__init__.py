"""The FastAPI shell around the page: who asks, what they may have, and the routes of the desk."""
