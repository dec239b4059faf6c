"""Addresses that a browser opens, for the address that the viewer listens at."""

import ipaddress
import socket

ANY = ("", "0.0.0.0", "::")  # every address of this machine; no browser opens these


def addresses(host: str, port: int) -> list[str]:
    """URLs of the viewer, the one for a browser on this machine first."""
    if host not in ANY:
        return [_url("localhost" if host == "127.0.0.1" else host, port)]
    return [_url("::1" if host == "::" else "localhost", port), _url(socket.gethostname(), port)]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
