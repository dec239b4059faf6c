"""The CUDA backend on the host: its kernels compiled as C++ against tests/emulation and called through ctypes."""

import ctypes
import hashlib
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diff_gaussian_rasterization.lifting_cuda import PairSums, TileRegions, collect

PACKAGE = Path(__file__).resolve().parents[1]
EMULATION = PACKAGE / "tests" / "emulation"
# _FORTIFY_SOURCE refuses jumps between the stacks of fibres.
FLAGS = ["-std=c++17", "-O1", "-g", "-fPIC", "-U_FORTIFY_SOURCE", f"-I{EMULATION}"]
FLAGS += os.environ.get("CUDA_EMULATION_FLAGS", "").split()
GEOMETRY = ("means", "means2d", "scales", "rotations", "covariances", "opacities")
ORDERS = {"forward": 0, "reverse": 1, "shuffled": 2}

Address, Int64, Int32, Float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float


def _struct(name, **fields):
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


Camera = _struct(
    "Camera", rotation=Float * 9, translation=Float * 3, fx=Float, fy=Float, cx=Float, cy=Float, tan_x=Float, tan_y=Float,
    width=Int32, height=Int32, rigid=ctypes.c_bool,
)  # fmt: skip
Gaussians = _struct(
    "Gaussians", count=Int64, means=Address, scales=Address, rotations=Address, covariances=Address, opacities=Address,
    scale_modifier=Float, antialiasing=ctypes.c_bool,
)  # fmt: skip
Features = _struct("Features", channels=Int64, values=Address, background=Address)
Images = _struct("Images", image=Address, alpha=Address, depth=Address)
Gradients = _struct("Gradients", features=Address, **dict.fromkeys(GEOMETRY, Address))
Call = _struct(
    "Call", camera=Camera, gaussians=Gaussians, features=Features, images=Images, image_gradients=Images, gradients=Gradients,
    radii=Address, num_visible=Int64, num_pairs=Int64, thread_order=Int32,
    compute_capability=Int32,
)  # fmt: skip
RegionMap = _struct("RegionMap", regions=Address, region_counts=Address, sum_begin=Address)
Harmonics = _struct(
    "Harmonics", count=Int64, stride=Int64, degree=ctypes.c_int, means=Address, coefficients=Address, camera_center=Float * 3
)
Runtime = _struct(
    "Runtime", current_device=Int64, capturing=Int64, old_driver=Int64, device_changes=Int64, waits=Int64, launches=Int64,
    atomics=Int64, pageable_copies=Int64, sorted_elements=Int64, pinned_bytes=Int64,
)  # fmt: skip
HarmonicsGradients = _struct("HarmonicsGradients", means=Address, coefficients=Address)


def compiler() -> str | None:
    return shutil.which("g++") or shutil.which("clang++")


def build(cache: Path) -> ctypes.CDLL:
    """Compile the backend, unless a library of the same sources is in `cache`."""
    sources = sorted((PACKAGE / "csrc" / "cuda").glob("*.cu")) + [EMULATION / "rasterize.cpp"]
    headers = sorted([*(PACKAGE / "csrc").glob("**/*.h"), *EMULATION.glob("**/*.*")])
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources + headers) + " ".join(FLAGS).encode())
    library = cache / f"emulated_{digest.hexdigest()[:16]}.so"
    if not library.exists():

        def compile_one(source: Path) -> Path:
            target = cache / f"{source.stem}.o"
            subprocess.run([compiler(), *FLAGS, "-x", "c++", "-c", source, "-o", target], check=True)
            return target

        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(compile_one, sources))
        partial = library.with_suffix(".partial")
        subprocess.run([compiler(), *FLAGS, "-shared", *objects, "-o", partial], check=True)
        partial.replace(library)
    loaded = ctypes.CDLL(str(library))
    loaded.last_error.restype = ctypes.c_char_p
    loaded.view_size.restype = ctypes.c_size_t
    loaded.last_pairs.restype = loaded.last_kept_positions.restype = Int64
    loaded.pinned_reports.restype = ctypes.c_void_p
    loaded.runtime.restype = ctypes.POINTER(Runtime)
    assert loaded.view_size() == ctypes.sizeof(Call), "the structs here and in csrc/types.h differ"
    return loaded


def address(tensor: torch.Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()


def camera_and_gaussians(view, inputs) -> tuple[Camera, Gaussians]:
    width, height = view.width, view.height
    world_to_camera = view.world_to_camera.float()
    camera = Camera(
        (Float * 9)(*world_to_camera[:3, :3].flatten().tolist()), (Float * 3)(*world_to_camera[:3, 3].tolist()),
        view.fx, view.fy, view.cx, view.cy, width / (2 * view.fx), height / (2 * view.fy), width, height, True,
    )  # fmt: skip
    given = {name: address(inputs.get(name)) for name in ("means", "scales", "rotations", "covariances", "opacities")}
    options = {"scale_modifier": inputs.get("scale_modifier", 1.0), "antialiasing": inputs.get("antialiasing", False)}
    return camera, Gaussians(count=len(inputs["means"]), **given, **options)


def lift(library, view, inputs, label_maps, centres_only=False, order="forward"):
    """(rows by level, labelled, unlabelled) as `lift_on_cuda` returns them."""
    n = len(inputs["means"])
    call = Call()
    call.camera, call.gaussians = camera_and_gaussians(view, inputs)
    radii = torch.empty(n, dtype=torch.int32)
    call.radii, call.thread_order = address(radii), ORDERS[order]
    regions = TileRegions.of(label_maps)
    tiles = len(regions.counts)
    tile_begin, gaussians = torch.empty(tiles + 1, dtype=torch.int64), torch.full((n * tiles,), -1, dtype=torch.int64)

    def run(region_map, sums):
        pointers = (Address(address(tensor)) for tensor in (tile_begin, gaussians))
        failed = library.lift(
            ctypes.byref(call), *pointers, ctypes.byref(region_map), ctypes.c_bool(centres_only), Address(address(sums))
        )
        if failed:
            raise RuntimeError(library.last_error().decode())

    run(RegionMap(), None)
    pairs = PairSums.layout(tile_begin, gaussians[: call.num_pairs], regions)
    sums = torch.zeros(int(pairs.begin[-1]))
    run(RegionMap(address(regions.local), address(regions.counts), address(pairs.begin)), sums)
    return collect(pairs, sums, regions, n)


def rasterize(library, view, inputs, features, background=None, image_gradients=None, wanted=(), order="forward", capability=9):
    """Blend and, with `wanted` names of gradients, go back. Returns (image, alpha, depth, radii, gradients by name).

    `inputs` holds means, scales, rotations or covariances, opacities and the options; outputs begin as NaN.
    """
    n, channels = features.shape
    width, height = view.width, view.height
    call = Call()
    call.camera, call.gaussians = camera_and_gaussians(view, inputs)
    call.features = Features(channels, address(features), address(background))
    nan = float("nan")
    image = torch.full((channels, height, width), nan)
    alpha, depth = torch.full((2, height, width), nan)
    call.images = Images(address(image), address(alpha), address(depth))
    if image_gradients is not None:
        call.image_gradients = Images(*[address(g) for g in image_gradients])
    shapes = {"features": channels, "means": 3, "means2d": 2, "scales": 3, "rotations": 4, "covariances": 6, "opacities": 1}
    gradients = {name: torch.full((n, shapes[name]), nan) for name in wanted}
    call.gradients = Gradients(**{name: address(g) for name, g in gradients.items()})
    radii = torch.full((n,), -1, dtype=torch.int32)
    call.radii = address(radii)
    call.thread_order = ORDERS[order]
    call.compute_capability = capability
    if library.rasterize(ctypes.byref(call)):
        raise RuntimeError(library.last_error().decode())
    return image, alpha, depth, radii, gradients
