"""LERF-OVS: outlines and boxes of four scenes, the labels LangSplat's authors added."""

from pathlib import Path

from evaluation.labels import read_lerf_ovs
from evaluation.protocol import LabelProtocol, LabelSet, Measure


def read(folder: Path) -> LabelSet:
    """Outlines per picture; InputError when the folder holds none."""
    return LabelSet(read_lerf_ovs(folder))


# From the papers of LangSplat (CVPR 2024), LangSplatV2 (2025) and, for Occam's LGS, VALA's comparison. The overall
# figure is usually the mean over the scenes.
PROTOCOL = LabelProtocol(
    read,
    ("ramen", "figurines", "teatime", "waldo_kitchen"),
    (
        Measure(
            "localization_accuracy",
            "Localisation accuracy, %",
            {
                "LangSplat": (73.2, 80.4, 88.1, 95.5, 84.3),
                "LangSplatV2, by its variant": (74.7, 82.1, 93.2, 86.4, 84.1),
                "Occam's LGS, in VALA's table": (74.7, 80.4, 93.2, 81.8, 82.5),
            },
        ),
        Measure(
            "miou",
            "mIoU, %",
            {
                "LangSplat": (51.2, 44.7, 65.1, 44.5, 51.4),
                "LangSplatV2, by its variant": (51.8, 56.4, 72.2, 59.1, 59.9),
                "Occam's LGS, in VALA's table": (51.0, 58.6, 70.2, 65.3, 61.3),
            },
        ),
    ),
)
