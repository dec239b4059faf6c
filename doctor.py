"""What this machine has, what will run on it, and the command that installs each missing part.

python doctor.py                    exit code 0 when the demo and the bundled encoder will run, 1 otherwise
python doctor.py --plan <scene>     seconds and memory of every stage on this machine, and the recommended command
python doctor.py --weights          whether the weights here know what three photographs show; exit code 0 when they do
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
INSTALL = "pip install -r requirements.txt"
RASTERIZER = "submodules/diff-gaussian-rasterization"
KNN = "submodules/simple-knn"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `fix` is the command that installs a missing part; `required` decides the exit code."""

    name: str
    ok: bool
    text: str
    fix: str = ""
    required: bool = False


def machine() -> Iterator[Finding]:
    """Python, processor, memory, disk, compilers."""
    version = platform.python_version()
    fix = "install Python 3.10 or newer, then: make PYTHON=python3.11 install"
    yield Finding("python", sys.version_info >= (3, 10), f"{version}, {sys.executable}", fix, required=True)
    yield Finding("system", True, f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores{_memory()}")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding("disk", free > 5, f"{free:.0f} GB free in {Path.cwd()}", "free some space: a scene takes 1 to 5 GB")
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++", "cl"))), None)
    yield Finding(
        "C++ compiler",
        compiler is not None,
        compiler or "none; only needed to build",
        "apt install g++ (or xcode-select --install)",
    )
    nvcc = shutil.which("nvcc")
    yield Finding("nvcc", True, nvcc or "none; only needed to build for an NVIDIA GPU")


def _memory() -> str:
    try:
        return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB memory"
    except (AttributeError, ValueError, OSError):  # not a POSIX system
        return ""


def packages() -> Iterator[Finding]:
    """Everything in requirements.txt, with its version."""
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        match = re.match(r"([A-Za-z0-9_.-]+)\s*(?:[>=]=\s*([0-9.]+))?", line)
        if line.startswith("#") or not match:
            continue
        name, minimum = match.groups()
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, False, "not installed", INSTALL, required=True)
            continue
        enough = minimum is None or _numbers(found) >= _numbers(minimum)
        yield Finding(name, enough, found if enough else f"{found}, needs {minimum}", INSTALL, required=True)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.split("+")[0])]


def devices() -> Iterator[Finding]:
    """Where the networks and the rasterizer can run."""
    import torch

    yield Finding("CPU", True, f"{torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            capability = f"sm_{properties.major}{properties.minor}"
            yield Finding(f"GPU {i}", True, f"{properties.name}, {properties.total_memory / 2**30:.0f} GB, {capability}")
    elif shutil.which("nvidia-smi") and torch.version.cuda is None:
        fix = "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cu128"
        yield Finding("GPU", False, "there is an NVIDIA driver, but this PyTorch was built without CUDA", fix)
    else:
        yield Finding("GPU", True, "none; everything runs on the CPU")


def backends() -> Iterator[Finding]:
    """The compiled packages, each run on a small input."""
    import torch

    gpu = torch.cuda.is_available()
    fix = f"pip install ./{RASTERIZER}"
    try:
        import diff_gaussian_rasterization as rasterizer

        view = rasterizer.View(torch.eye(4), 8.0, 8.0, 4.0, 4.0, 8, 8)
        middle = rasterizer.rasterize(
            view, torch.tensor([[0.0, 0, 2]]), torch.ones(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1), torch.ones(1, 1)
        ).image[0, 4, 4]
        built = rasterizer.build_record()
        works = 0.9 < middle.item() < 1
        threads = f"OpenMP {built['openmp']}" if built["openmp"] else "one thread, no OpenMP"
        text = f"{rasterizer._C.instruction_set()} at run time; built: {built['cpu']}, {threads}, {built['compiler']}"
        yield Finding("rasterizer, CPU", works, text, fix, required=True)
        yield _cuda_backend("rasterizer", built, gpu, RASTERIZER)
    except (ImportError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        yield Finding("rasterizer", False, str(error), fix, required=True)
    fix = f"pip install ./{KNN}"
    try:
        from simple_knn import build_record, mean_squared_distance

        works = mean_squared_distance(torch.eye(4, 3)).shape == (4,)
        yield Finding("simple-knn, CPU", works, "scipy's k-d tree", fix, required=True)
        yield _cuda_backend("simple-knn", build_record(), gpu, KNN)
    except (ImportError, RuntimeError, ValueError, TypeError) as error:
        yield Finding("simple-knn", False, str(error), fix, required=True)


# Minimum driver of each CUDA major version: NVIDIA's table of minor version compatibility.
FIRST_DRIVERS = {"11": 450, "12": 525, "13": 580}


def _cuda_backend(name: str, built: dict[str, str], gpu: bool, folder: str) -> Finding:
    fix = f"put nvcc (CUDA 11.8 or later) on PATH, then: pip install --force-reinstall --no-deps ./{folder}"
    if not built["cuda"]:
        return Finding(f"{name}, CUDA", not gpu, "not built" + ("" if gpu else "; no GPU to use it on"), fix)
    text = f"built with CUDA {built['cuda']} for compute capability {built['architectures']}"
    driver = FIRST_DRIVERS.get(built["cuda"].partition(".")[0])
    return Finding(f"{name}, CUDA", True, text + (f"; needs driver {driver} or later" if driver else ""))


def weights() -> Iterator[Finding]:
    """Weights of the default models: where each file is, or the command that downloads it."""
    from features import graph_segments, mini
    from features.clip_loading import default_weights
    from features.preprocessing import PreprocessConfig
    from features.talk2dino import TEXT_MODEL, TEXT_WEIGHTS

    missing = [path.name for path in (mini.CONFIG, mini.WEIGHTS, mini.MERGES, graph_segments.WEIGHTS) if not path.is_file()]
    text = f"{mini.WEIGHTS.parent}" if not missing else f"missing: {', '.join(missing)}"
    yield Finding("bundled weights", not missing, text, f"git checkout -- {mini.WEIGHTS.parent.name}", required=True)

    default = PreprocessConfig(source_path=Path())
    found = _find("sam_vit_*.pth", default.sam_ckpt_path)
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{default.sam_ckpt_path.name}"
    fetch = f"mkdir -p {default.sam_ckpt_path.parent} && curl -L -o {default.sam_ckpt_path} {url}"
    yield Finding("SAM", found is not None, _place(found, default.sam_ckpt_path, "--sam_ckpt_path"), fetch)
    yield _open_clip("CLIP for segments", default.clip_model, default_weights(default.clip_model))
    yield _dino(default.dino_model)
    yield _open_clip("CLIP for Talk2DINO", TEXT_MODEL, TEXT_WEIGHTS)
    head = Path("ckpts/vitb_mlp_infonce.pth")
    found = _find(head.name, head)
    fix = f"download {head.name} from Talk2DINO's repository (it has no licence), then add --talk2dino_ckpt <file>"
    yield Finding("Talk2DINO head", found is not None, _place(found, None, "--talk2dino_ckpt"), fix)


def _find(pattern: str, expected: Path) -> Path | None:
    """First file that matches `pattern` in the usual folders; `expected` is checked first."""
    if expected.is_file():
        return expected
    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    folders = (Path("ckpts"), Path("checkpoints"), Path("weights"), Path("models"), Path(), ROOT / "ckpts", hub)
    return next((path for folder in folders for path in sorted(folder.glob(pattern))), None)


def _place(found: Path | None, default: Path | None, flag: str) -> str:
    if found is None:
        return "not found"
    return f"{found}, {found.stat().st_size / 1e9:.2f} GB" + ("" if found == default else f"; add {flag} {found}")


def _open_clip(name: str, model: str, pretrained: str) -> Finding:
    from open_clip.pretrained import get_pretrained_cfg

    source = get_pretrained_cfg(model, pretrained)
    files = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    cached = _cached(source["hf_hub"].strip("/"), files) if source.get("hf_hub") else None
    if cached is None and source.get("url"):
        file = Path.home() / ".cache" / "clip" / Path(source["url"]).name
        cached = str(file) if file.is_file() else None
    fetch = f"python -c \"import open_clip; open_clip.create_model('{model}', pretrained='{pretrained}')\""
    return Finding(name, cached is not None, cached or f"{model} {pretrained} not in the cache", fetch)


def _dino(model: str) -> Finding:
    import timm

    cached = _cached(timm.models.get_pretrained_cfg(model).hf_hub_id, ("model.safetensors", "pytorch_model.bin"))
    fetch = f"python -c \"import timm; timm.create_model('{model}', pretrained=True)\""
    return Finding("DINOv2", cached is not None, cached or f"{model} not in the cache", fetch)


def _cached(repository: str, files: tuple[str, ...]) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, file) for file in files)
    return next((path for path in found if isinstance(path, str)), None)


def will_run(findings: dict[str, Finding]) -> Iterator[Finding]:
    """Whether each of the main commands will run, given the findings."""

    def verdict(name: str, *needs: str) -> Finding:
        lacking = [need for need in needs if need not in findings or not findings[need].ok]
        return Finding(name, not lacking, "yes" if not lacking else f"no, for want of: {', '.join(lacking)}")

    core = [name for name, finding in findings.items() if finding.required and name != "bundled weights"]
    yield verdict("demo.py, --features mini", *core, "bundled weights")
    yield verdict("convert.py", "pycolmap")
    yield verdict("--features sam_clip", *core, "SAM", "CLIP for segments")
    yield verdict("--features dino", *core, "DINOv2")
    yield verdict("text queries on dino", *core, "DINOv2", "CLIP for Talk2DINO", "Talk2DINO head")


SECTIONS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("Machine", machine),
    ("Packages", packages),
    ("Devices", devices),
    ("Compiled backends", backends),
    ("Weights", weights),
)


def main(args: Sequence[str]) -> int:
    """Print the report; return 0 when the demo and the bundled encoder will run, else 1."""
    parser = _parser()
    options = parser.parse_args(args)
    if options.plan is not None and options.weights:
        parser.error("--plan and --weights are two reports; ask for one")
    unused = [
        name for name, value in vars(options).items() if value != parser.get_default(name) and name not in ("plan", "weights")
    ]
    if unused and not options.weights:
        parser.error("the flags for files and --preset belong to --weights; add it or leave them out")
    if options.plan is not None:
        from diagnosis.plan import plan

        return _reported(lambda: plan(options.plan))
    if options.weights:
        from diagnosis.weights_check import Weights, check_weights

        given = {name: value for name, value in vars(options).items() if name not in ("plan", "weights")}
        return _reported(lambda: check_weights(Weights(**given)))
    findings: dict[str, Finding] = {}
    for title, section in SECTIONS:
        print(f"\n{title}")
        try:
            for finding in section():
                findings[finding.name] = finding
                _show(finding)
        except ImportError as error:
            findings[title] = Finding(title, False, f"cannot be looked at: {error}", INSTALL, required=True)
            _show(findings[title])
    print("\nWill run")
    for finding in will_run(findings):
        _show(finding)
    lacking = [finding for finding in findings.values() if finding.required and not finding.ok]
    if lacking:
        print("\nTo run the demo:")
        for fix in dict.fromkeys(finding.fix for finding in lacking):
            print(f"  {fix}")
        print("or all of it at once: make install")
    return 1 if lacking else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--plan", type=Path, metavar="SCENE", help="what every stage would take for this scene folder")
    parser.add_argument("--weights", action="store_true", help="check the weights by meaning")
    files = parser.add_argument_group("where --weights finds them; by default the usual places and the libraries' caches")
    files.add_argument("--sam_ckpt_path", dest="sam", type=Path)
    files.add_argument("--sam_model_type", choices=("vit_h", "vit_l", "vit_b"), default="vit_h")
    files.add_argument("--clip_model")
    files.add_argument("--clip_pretrained", dest="clip")
    files.add_argument("--dino_model")
    files.add_argument("--dino_ckpt", dest="dino", type=Path)
    files.add_argument("--talk2dino_ckpt", dest="talk2dino", type=Path)
    files.add_argument("--talk2dino_clip", help="weights of the text tower of Talk2DINO, OpenAI's ViT-B/16")
    files.add_argument("--preset", choices=("published", "fast"), default="fast", help="prompts of SAM")
    return parser


def _reported(run: Callable[[], int]) -> int:
    """The exit code of `run`; an error of the user's input is one line."""
    from workspace import InputError

    try:
        return run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _show(finding: Finding) -> None:
    print(f"  {'ok' if finding.ok else '--':<4}{finding.name:<28}{finding.text}")
    if not finding.ok and finding.fix:
        print(f"{'':34}{finding.fix}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
