"""Segments and patches of the small scene that agree between its views: what is seen there belongs to one of six things."""

import numpy as np
import torch
import torch.nn.functional as F

from features.grid_store import GridStore, PatchGrid
from features.segment_store import Segments, SegmentStore
from gaussian_renderer import render
from scene.dataset import load_scene
from scene.gaussian_model import GaussianModel
from workspace import SceneFolder
from workspace.record_types import FeatureSettings, FeaturesRecord
from workspace.stage_record import stage

FEATURE_WIDTH = 24
GROUPS = {"default": 6, "s": 6, "m": 3, "l": 2}  # things told apart at each level


def _views(root):
    """Per camera: its name and the share of each of six things in every pixel [6, h, w], and the coverage [h, w]."""
    scene = load_scene(root)
    world = GaussianModel.from_points(scene.points, scene.colors)
    world.log_scales[:] = np.log(0.18)
    world.opacity_logits[:] = 3.0
    order = torch.from_numpy(scene.points[:, 1]).argsort().argsort()  # things are slices along y
    thing = F.one_hot(order * 6 // len(order), 6).float()
    for camera in scene.train:
        rendering = render(camera, world, None, thing)
        yield camera.name, rendering.image, rendering.alpha


def _embeddings(count, generator):
    return F.normalize(torch.randn(count, FEATURE_WIDTH, generator=generator) + 1, dim=1)


def write_small_segments(root, config=None):
    """language_features/ with a finished record, as `features: mini`."""
    scene, generator = SceneFolder(root), torch.Generator().manual_seed(3)
    tables = [_embeddings(count, generator) for count in GROUPS.values()]
    store = SegmentStore(scene, config or FeatureSettings("mini"))
    with stage(store.folder, FeaturesRecord, store.settings, {}):
        for name, shares, alpha in _views(root):
            maps, start = [], 0
            for count in GROUPS.values():
                merged = shares.unflatten(0, (count, 6 // count)).sum(1)
                maps.append(torch.where(alpha > 0.3, merged.argmax(0) + start, -1))
                start += count
            seen = torch.cat(tables) + 0.05 * torch.randn(start, FEATURE_WIDTH, generator=generator)
            store.write(name, Segments(F.normalize(seen, dim=1).numpy(), torch.stack(maps).int().numpy()))
    return root


def grid_embeddings():
    """Unit embeddings of the six things, then of what is around them, as patches have them."""
    return _embeddings(7, torch.Generator().manual_seed(4))


def write_small_grids(root, length=1.0):
    """dino_features/ with a finished record, as `features: mini_dense`, 7x10 patches of 4x4 pixels, tokens of that length."""
    scene, table = SceneFolder(root), length * grid_embeddings()
    store = GridStore(scene, FeatureSettings("mini_dense"))
    with stage(store.folder, FeaturesRecord, store.settings, {}):
        for name, shares, alpha in _views(root):
            everything = torch.cat([shares, 1 - alpha[None]])
            patches = F.avg_pool2d(everything, 4).permute(1, 2, 0) @ table
            store.write(name, PatchGrid(patches.numpy().astype(np.float16)))
    return root
