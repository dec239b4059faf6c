"""viser's server on a loopback port, without its own announcements: the address to open is another one."""

import contextlib
import io
import logging
import warnings

import viser


def start_pages() -> viser.ViserServer:
    """A server at a free port of the loopback interface; end it with `stop_pages`."""
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # else a client that leaves during its request is a traceback
    warnings.filterwarnings("ignore", "Queued a .* on a closed connection")  # a visitor left before the answer came
    with contextlib.redirect_stdout(io.StringIO()):
        return viser.ViserServer(host="127.0.0.1", port=0, verbose=False)


def stop_pages(server: viser.ViserServer) -> None:
    """Close all connections."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()
