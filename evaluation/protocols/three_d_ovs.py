"""3D-OVS: a mask per class and picture; LangSplat's authors published figures on five scenes, and no evaluator."""

from pathlib import Path

from evaluation.labels import read_3d_ovs
from evaluation.protocol import LabelProtocol, LabelSet, Measure


def read(folder: Path) -> LabelSet:
    """Masks per picture and the classes, which compete for every pixel; InputError when the folder holds none."""
    classes, frames = read_3d_ovs(folder)
    return LabelSet(frames, tuple(classes))


_MIOU = {  # from the papers of LangSplat (CVPR 2024) and LangSplatV2 (2025)
    "LangSplat": (92.5, 94.2, 94.1, 90.0, 96.1, 93.4),
    "LangSplatV2": (93.0, 94.9, 96.1, 92.3, 96.6, 94.6),
}
PROTOCOL = LabelProtocol(
    read,
    ("bed", "bench", "room", "sofa", "lawn"),
    (
        Measure("argmax_miou", "mIoU of arg-max masks, %", _MIOU),
        Measure("miou", "mIoU of thresholded masks, %", _MIOU),
    ),
)
