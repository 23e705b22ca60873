"""Web application: authentication, middleware, the REST API, and the routes of the page."""
