"""Settings of the viewer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from query.objects.finding import InstanceOptions
from query.session import SessionConfig
from workspace import InputError


@dataclass(frozen=True, kw_only=True)
class ViewerConfig(InstanceOptions, SessionConfig):
    """Which model to show, how, and to whom."""

    model_path: Annotated[Path, tyro.conf.arg(aliases=["-m"])]
    """Model folder of train.py. With several language fields the lifted one is asked, unless --field says another."""
    host: str = "127.0.0.1"
    """Address to listen at: only this machine by default; 0.0.0.0 lets everybody on the network look, ask and save."""
    port: int = 8080
    """Port of the pages and of the HTTP answers; 0 takes a free one."""
    backend: Literal["server", "webgl"] = "server"
    """server: pictures drawn here, coarse while the camera moves. webgl: 32 bytes per Gaussian sent once, drawn by the browser,
    for large scenes on slow servers; colours then do not depend on the view."""
    size: int = 960
    """Longer side of the pictures that the server draws, pixels."""
    vocabulary: tuple[str, ...] = ()
    """Names that a click may give, instead of the phrases that a visitor has looked for."""

    def check(self) -> None:
        """Raise InputError for a value without a meaning."""
        super().check()
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"--port {self.port}: expected 0 to 65535.")
        if not 64 <= self.size <= 4096:
            raise InputError(f"--size {self.size}: expected 64 to 4096 pixels.")
