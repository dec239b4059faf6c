"""Cache of views of frozen Gaussians, projected and sorted once, within a memory budget."""

import logging
from collections.abc import Sequence

from diff_gaussian_rasterization import PreparedView, set_weight_budget

from gaussian_renderer import prepare_view
from scene.camera import Camera
from scene.gaussian_model import GaussianModel

log = logging.getLogger(__name__)


class PreparedViews(Sequence[PreparedView]):
    """Prepared views by index. The first ones that fit into the budget stay cached, the others are prepared at every use.

    With views in random order no replacement strategy does better. The rest of the budget goes to the views' blending
    weights, which save less time for more memory.
    """

    def __init__(self, cameras: Sequence[Camera], gaussians: GaussianModel, budget_bytes: float):
        self._cameras, self._gaussians = cameras, gaussians
        self._kept: dict[int, PreparedView] = {}
        self._free = budget_bytes
        self._full = False

    def __len__(self) -> int:
        return len(self._cameras)

    def __getitem__(self, index: int) -> PreparedView:
        if index in self._kept:
            return self._kept[index]
        view = prepare_view(self._cameras[index], self._gaussians)
        if view.nbytes <= self._free:
            self._kept[index] = view
            self._free -= view.nbytes
            set_weight_budget(int(self._free))
        elif not self._full:
            self._full = True
            log.info(
                "%d of %d prepared views fill the cache; the others are prepared at every visit (--view_cache_gb).",
                len(self._kept),
                len(self._cameras),
            )
        return view
