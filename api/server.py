"""The server: uvicorn on uvloop and httptools, within limits, and on loopback unless keys are set."""

import logging

import uvicorn
from starlette.applications import Starlette

from api.app import create_app
from api.keys import Keys, loopback
from api.protocol import BoundedProtocol
from api.travel import Travel
from streams.errors import SettingsError
from streams.seldom import speak_seldom
from streams.settings import Settings

CONNECTIONS = 1024  # the last rail: api/admission.py turns requests away long before, and says so properly
BACKLOG = 256
KEEP_ALIVE_SECONDS = 5
STOP_SECONDS = 5


def config(settings: Settings, app: Starlette | None = None) -> uvicorn.Config:
    """Return what uvicorn runs: `app`, or the real one. Raises SettingsError: public address, no keys."""
    if not loopback(settings.host) and not len(Keys(settings.api_keys)):
        raise SettingsError(
            f"REFOLD_HOST={settings.host!r} can be reached from other machines and REFOLD_API_KEYS is empty; "
            "make a key with `refold keys new NAME --scope admin`, or listen on 127.0.0.1"
        )
    return uvicorn.Config(
        app or create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def serve(settings: Settings, travel: Travel | None = None) -> None:
    """Answer requests until SIGTERM or Ctrl-C, about the past by `travel`; raises SettingsError."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    speak_seldom()
    uvicorn.Server(config(settings, create_app(settings, travel=travel))).run()
