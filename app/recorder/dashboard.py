"""rq-dashboard, made safe to look at what anybody may have enqueued.

As it comes it unpickles payloads, which would run what is in them; it listens on every address, takes the Redis URL
as an argument, which every user of the machine can read, and deletes jobs for any web page that asks.
"""

from __future__ import annotations

import click
from flask import Flask, Response, request
from rq.serializers import DefaultSerializer
from rq_dashboard import web
from rq_dashboard.cli import make_flask_app
from werkzeug.serving import make_server

from app.recorder.rqjob import PickleData
from app.store.errors import UsageError

HOST = "127.0.0.1"


def make_dashboard(redis_url: str, shown_as: str) -> Flask:
    """The dashboard as a WSGI application; its pages name Redis as `shown_as`."""
    DefaultSerializer.loads = PickleData.loads
    web.escape_format_instance_list = lambda _: [shown_as]
    app: Flask = make_flask_app(None, None, None, "")
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.config["DEPRECATED_OPTIONS"] = []
    app.before_request(_refuse_other_sites)
    web.setup_rq_connection(app)
    return app


def serve_dashboard(redis_url: str, shown_as: str, port: int) -> None:
    """Serve it on loopback until told to stop."""
    app = make_dashboard(redis_url, shown_as)
    try:
        server = make_server(HOST, port, app, threaded=True)
    except (OSError, SystemExit) as error:
        raise UsageError(f"can't listen at {HOST}:{port}", hint="is the port taken?") from error
    click.echo(f"rq-dashboard at http://{HOST}:{port}")
    server.serve_forever()


def _refuse_other_sites() -> Response | None:
    """A page that the operator's browser shows can't change anything here, nor read it under a name of its own."""
    host = request.host.rpartition(":")[0] or request.host
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    ours = origin in (None, request.host_url.rstrip("/")) and site in (None, "none", "same-origin")
    return None if ours and host in (HOST, "localhost") else Response("only from this machine\n", 403)
