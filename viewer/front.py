"""The public port: a connection is handed to viser's server or, below /api, to the HTTP answers."""

import asyncio
import contextlib
import ipaddress
import json
import threading
from collections.abc import Mapping
from http import HTTPStatus

from viewer.addresses import ANY
from workspace import InputError

API = "/api"
LARGEST_HEAD = 16 << 10  # bytes of a request line with its headers
HEAD_SECONDS = 10.0  # time for a client to send them
CHUNK = 64 << 10
LINGER_BYTES, LINGER_SECONDS = 16 << 20, 2.0  # of a request that was refused


class Front:
    """Listens at `host`:`port`, both of which browsers and programs use.

    viser serves pages and websockets on one port and has no place for other requests, so each connection is passed on as it is to
    one of two servers that listen on the loopback interface only. Both close a connection after one request.

    Requests that a web page of another origin sends are refused, and those under a host name that is not this server's: else
    any page that the user visits could ask, and write files.
    """

    def __init__(self, host: str, port: int, pages: int, answers: int):
        """`pages` and `answers` are the loopback ports of viser and of the HTTP answers. `port` 0 takes a free one.

        Raises:
            InputError: the address cannot be used.
        """
        self._host, self._ports = host, {True: answers, False: pages}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="viewer-front", daemon=True)
        self._thread.start()
        listen = asyncio.start_server(self._serve, host, port, limit=LARGEST_HEAD)
        try:
            self._server = asyncio.run_coroutine_threadsafe(listen, self._loop).result()
        except (OSError, OverflowError) as error:
            self._end()
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise InputError(f"--host {host} --port {port}: {reason}. Give another --port, or 0 for any free one.") from None
        self.port: int = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close the port and all connections."""

        async def close() -> None:
            self._server.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the server stops; asyncio would log it
            await self._answer(reader, writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
            method, path, headers = _parsed(head)
            if not self._trusted(headers):
                await _refuse(reader, writer, HTTPStatus.FORBIDDEN, "The request is of another web page or host name.")
                return
            below = path.partition("?")[0]
            answers = below == API or below.startswith(f"{API}/")
            if method != "GET" and not (answers and method == "POST"):
                message = f"{method[:20]} is not understood; GET is, and POST below {API}."
                await _refuse(reader, writer, HTTPStatus.METHOD_NOT_ALLOWED, message)
                return
            await self._splice(head, reader, writer, self._ports[answers])
        except asyncio.LimitOverrunError:
            message = f"More than {LARGEST_HEAD} bytes of headers."
            await _refuse(reader, writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)
        except ValueError:
            await _refuse(reader, writer, HTTPStatus.BAD_REQUEST, "Not an HTTP request.")
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            pass  # the client is gone, or never spoke
        finally:
            writer.close()

    async def _splice(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        inner_writer.write(head)
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.close()

    def _trusted(self, headers: Mapping[str, str]) -> bool:
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return False
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]")
        if name in ("localhost", self._host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            # Served to a network on purpose: its name there is not known here.
            return self._host in ANY
        return True


def _parsed(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers (names in lower case) of a request; ValueError when it is none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, protocol = first.split(" ")
    if not protocol.startswith("HTTP/"):
        raise ValueError(protocol)
    fields = (line.partition(":") for line in lines if line)
    return method, path, {name.strip().lower(): value.strip() for name, _, value in fields}


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: HTTPStatus, message: str) -> None:
    """Answer, and read what the client still sends: closing with unread input would destroy the answer on its way."""
    body = json.dumps({"error": message}).encode()
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"

    async def drain() -> None:
        left = LINGER_BYTES
        while left > 0 and (data := await reader.read(CHUNK)):
            left -= len(data)

    with contextlib.suppress(OSError, asyncio.TimeoutError):  # the client is gone, or sends nothing more
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        writer.write_eof()
        await asyncio.wait_for(drain(), LINGER_SECONDS)


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, then end the target's direction."""
    while data := await source.read(CHUNK):
        target.write(data)
        await target.drain()
    if target.can_write_eof():
        target.write_eof()
