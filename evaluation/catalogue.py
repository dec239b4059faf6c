"""Protocols by name. A new protocol is a file in `protocols` and a line here."""

from collections.abc import Mapping
from typing import Literal

from evaluation.protocol import LabelProtocol
from evaluation.protocols import lerf_ovs, mipnerf360_gags, mipnerf360_goi, three_d_ovs

PROTOCOLS: Mapping[str, LabelProtocol] = {
    "lerf_ovs": lerf_ovs.PROTOCOL,
    "3d_ovs": three_d_ovs.PROTOCOL,
    "mipnerf360_goi": mipnerf360_goi.PROTOCOL,
    "mipnerf360_gags": mipnerf360_gags.PROTOCOL,
}
ProtocolName = Literal[tuple(PROTOCOLS)]
