"""Random calls of the public functions, right and wrong: each returns finite numbers or raises one clear error.

    python fuzz_calls.py --count 10000 --seed 1

A crash of native code ends the process; `sanitize.sh` runs the same calls with sanitizers. Prints what repeats a failure.
"""

import argparse
import math
import random
import sys
import traceback

import torch
from diff_gaussian_rasterization import (
    GaussianRasterizationSettings,
    GaussianRasterizer,
    View,
    evaluate_sh,
    prepare,
    rasterize,
    set_weight_budget,
    set_weight_precision,
)

SIDES = (1, 2, 3, 15, 16, 17, 31, 64, 100)
COUNTS = (0, 1, 2, 3, 17, 64, 300)
SPECIAL = (0.0, -0.0, 1e-38, 1e-12, 1e12, 1e30, 3e38, math.nan, math.inf, -math.inf, -1.0)
LONGEST_MESSAGE = 2000


def view(rng: random.Random) -> View:
    """A camera near the origin; one in five has something wrong or extreme."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    pose[:3, 3] = torch.randn(3, dtype=torch.float64)
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    fields = {"world_to_camera": pose, "fx": width * 1.1, "fy": width * rng.choice((1.1, 0.7)), "cx": width / 2,
              "cy": rng.uniform(-height, 2 * height), "width": width, "height": height}  # fmt: skip
    if rng.random() < 0.2:
        name = rng.choice(list(fields))
        wrong = (0, -1, 2**31, 2**63, 1.5, None, "16", True, *SPECIAL)
        if name == "world_to_camera" and rng.random() < 0.7:
            pose[rng.randrange(4), rng.randrange(4)] = rng.choice(SPECIAL)
        else:
            fields[name] = rng.choice(wrong)
    return View(**fields)


def tensor(rng: random.Random, *shape: int, positive: bool = False) -> torch.Tensor:
    """Usual values; one in eight is of a wrong shape or type, or holds special values."""
    value = torch.rand(*shape) if positive else torch.randn(*shape)
    chance = rng.random()
    if chance < 0.03 and value.numel():
        for _ in range(rng.choice((1, 1, 5))):
            value.view(-1)[rng.randrange(value.numel())] = rng.choice(SPECIAL)
    elif chance < 0.05:
        value = value * rng.choice((1e-20, 1e10, 1e20))
    elif chance < 0.07:
        value = value.to(rng.choice((torch.float16, torch.float64, torch.int32, torch.complex64, torch.bool)))
    elif chance < 0.09:
        value = rng.choice((value[None], value[..., :0], value[:-1], torch.zeros(0), torch.zeros(2, 2, 2)))
    elif chance < 0.10:
        return rng.choice((None, 3.0, [1.0], "x", value.to("meta"), value.to_sparse()))
    if chance > 0.8 and value.ndim:
        value = torch.stack([value, value], -1)[..., 0]  # not contiguous
    if rng.random() < 0.4 and value.is_floating_point():
        value.requires_grad_(True)
    return value


def gaussians(rng: random.Random) -> dict:
    """Arguments of `rasterize` and `prepare` for the geometry."""
    n = rng.choice(COUNTS)
    found = {"means": tensor(rng, n, 3), "scales": None, "rotations": None, "opacities": tensor(rng, n, positive=True)}
    if rng.random() < 0.8:
        found |= {"scales": tensor(rng, n, 3, positive=True), "rotations": tensor(rng, n, 4)}
    if found["scales"] is None or rng.random() < 0.03:
        root = torch.randn(n, 3, 3) * 0.3
        full = root @ root.mT
        found["covariances"] = torch.stack([full[:, i, j] for i in range(3) for j in range(i, 3)], 1)
    if isinstance(found["scales"], torch.Tensor) and rng.random() < 0.7 and found["scales"].is_floating_point():
        found["scales"] = found["scales"] * 0.2
    return found


def options(rng: random.Random) -> dict:
    """Keywords of both, mostly left alone."""
    found = {}
    if rng.random() < 0.3:
        found["scale_modifier"] = rng.choice((1.0, 0.5, 2, 1e-6, 0.0, -1.0, math.nan, math.inf, 1e30, "1", None))
    if rng.random() < 0.3:
        found["antialiasing"] = rng.random() < 0.8
    return found


def finish(rng: random.Random, results: list[torch.Tensor]) -> list[torch.Tensor]:
    """A backward pass through what can be differentiated, with random weights."""
    losses = [(value * torch.randn_like(value)).sum() for value in results if value.requires_grad]
    if losses and rng.random() < 0.8:
        sum(losses).backward()
    return results


def call_rasterize(rng: random.Random) -> list[torch.Tensor]:
    """`rasterize`, with any number of channels."""
    g = gaussians(rng)
    n = len(g["means"]) if isinstance(g["means"], torch.Tensor) and g["means"].ndim else 1
    channels = rng.choice((1, 2, 3, 4, 7, 8, 9, 17, 33))
    extra = {"background": tensor(rng, channels)} if rng.random() < 0.4 else {}
    if rng.random() < 0.3:
        extra["means2d"] = tensor(rng, n, rng.choice((2, 3)))
    drawn = rasterize(view(rng), **g, features=tensor(rng, n, channels), **extra, **options(rng))
    return finish(rng, list(drawn))


def call_prepare(rng: random.Random) -> list[torch.Tensor]:
    """`prepare`, then several passes and a lift."""
    set_weight_budget(rng.choice((0, 10_000, 2**26)))
    set_weight_precision(rng.choice((16, 32)))
    prepared = prepare(view(rng), **gaussians(rng), **options(rng))
    n, found = len(prepared.radii), [prepared.alpha, prepared.depth]
    for _ in range(rng.choice((0, 1, 3))):
        channels = rng.choice((1, 3, 9, 12))
        found += finish(rng, [prepared.rasterize(tensor(rng, n, channels)).image])
    if rng.random() < 0.5:
        height, width = prepared.alpha.shape
        labels = torch.randint(
            -1,
            rng.choice((1, 3, 200)),
            (rng.choice((1, 3)), height, width),
            dtype=rng.choice((torch.int16, torch.int32, torch.int64)),
        )
        if rng.random() < 0.1:
            labels = rng.choice((labels[0], labels.float(), labels[..., :-1], labels.long() + 2**31, labels.long() - 2**62, None))
        lifted = prepared.lift(labels, rng.choice(("all", "all", "centre", "middle", None)))
        found += [level.weights for level in lifted.levels] + [lifted.labelled, lifted.unlabelled]
    return found


def call_harmonics(rng: random.Random) -> list[torch.Tensor]:
    """`evaluate_sh`."""
    n, degree = rng.choice(COUNTS), rng.choice((0, 1, 2, 3, 3, 3, 4, -1, True, "3"))
    return finish(
        rng, [evaluate_sh(degree, tensor(rng, n, 3), tensor(rng, 3), tensor(rng, n, rng.choice((16, 16, 16, 9, 4, 1, 0)), 3))]
    )


def call_drop_in(rng: random.Random) -> list[torch.Tensor]:
    """The classes of the published packages."""
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    world_to_camera, projection = torch.eye(4), torch.zeros(4, 4)
    world_to_camera[2, 3] = 4
    tangent = rng.choice((0.5, 1.0, 0.0, -1.0, math.nan)) if rng.random() < 0.2 else 0.6
    projection[0, 0], projection[1, 1] = (1 / tangent if tangent else 0.0,) * 2
    projection[2, 2], projection[2, 3], projection[3, 2] = 1.0001, -0.01, 1
    settings = GaussianRasterizationSettings(
        height, width, tangent, tangent, tensor(rng, 3), rng.choice((1.0, 1.0, 1.0, 0.5, math.nan, "x")), world_to_camera.T,
        (projection @ world_to_camera).T, rng.choice((0, 1, 3, 5)), torch.tensor([0.0, 0, -4]), False, False,
    )  # fmt: skip
    if rng.random() < 0.5:
        settings = settings._replace(include_feature=rng.random() < 0.7)
    g = gaussians(rng)
    n = len(g["means"]) if isinstance(g["means"], torch.Tensor) and g["means"].ndim else 1
    colors = {"shs": tensor(rng, n, 16, 3)} if rng.random() < 0.5 else {"colors_precomp": tensor(rng, n, 3)}
    language = {"language_feature_precomp": tensor(rng, n, rng.choice((3, 3, 9)))} if rng.random() < 0.5 else {}
    drawn = GaussianRasterizer(settings)(
        g["means"], tensor(rng, n, 3), g["opacities"], scales=g["scales"], rotations=g["rotations"],
        cov3D_precomp=g.get("covariances"), **colors, **language,
    )  # fmt: skip
    return finish(rng, [value for value in drawn if value.is_floating_point()])


CALLS = (call_rasterize, call_rasterize, call_prepare, call_prepare, call_harmonics, call_drop_in)


def outcome(seed: int, number: int) -> str:
    """`drawn`, `refused`, or what is wrong with the call."""
    rng = random.Random(f"{seed} {number}")
    torch.manual_seed(rng.randrange(2**31))
    torch.set_num_threads(rng.choice((1, 2, 4)))
    call = rng.choice(CALLS)
    try:
        results = call(rng)
    except (ValueError, TypeError) as error:
        text = str(error)
        if not 10 < len(text) < LONGEST_MESSAGE:
            return f"{call.__name__}: a message of {len(text)} characters: {text[:200]!r}"
        places = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if not any("diff_gaussian_rasterization" in place for place in places):
            return f"{call.__name__}: the error is of this program:\n{traceback.format_exc()}"
        return "refused"
    except Exception:  # noqa: BLE001 - anything else is what is looked for
        return f"{call.__name__}:\n{traceback.format_exc()}"
    del results
    return "drawn"


def fuzz(count: int, seed: int, number: int | None = None) -> int:
    """Run `count` calls; the number of failures."""
    found = {"drawn": 0, "refused": 0, "failed": 0}
    for i in [number] if number is not None else range(count):
        result = outcome(seed, i)
        found[result if result in found else "failed"] += 1
        if result not in found:
            print(f"--seed {seed} --number {i}: {result}", flush=True)
    print(f"{sum(found.values())} calls: {found['drawn']} drawn, {found['refused']} refused, {found['failed']} failures")
    return found["failed"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, help="this call alone")
    arguments = parser.parse_args()
    sys.exit(bool(fuzz(arguments.count, arguments.seed, arguments.number)))
