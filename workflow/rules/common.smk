# Settings, names of markers, and what every rule needs.
import re
import shlex
import subprocess
import sys
from pathlib import Path

from snakemake.utils import validate

REPOSITORY = Path(workflow.basedir).resolve().parent
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from commands import Commands
from failures import summary, write_failures
from scene_table import Scene, SceneTableError, count_photographs, read_scenes
from stage_resources import megabytes, minutes


configfile: str(REPOSITORY / "config" / "config.yaml")


WORDS = {"true": True, "false": False, "null": None}  # YAML's; --config leaves them text
config.update({name: WORDS.get(value, value) for name, value in config.items() if isinstance(value, str)})
validate(config, str(REPOSITORY / "workflow" / "schemas" / "config.schema.json"))

COMMANDS = Commands(config, REPOSITORY)
FIELDS = COMMANDS.fields
RUN = [sys.executable, str(REPOSITORY / "workflow" / "scripts" / "run_job.py")]
if isinstance(config["gpus"], list):
    RUN += ["--gpus", ",".join(map(str, config["gpus"]))]
RUN = shlex.join(RUN)
OUTPUT = config["output"].rstrip("/")
SEEDS = [int(seed) for seed in config["seeds"]]  # of a command line they are text
EXTRACTORS = sorted({field.features for field in FIELDS.values()})
BUNDLED = ("mini", "mini_dense", "own")  # extractors without large networks: no GPU helps them
BENCHMARKS = config["benchmarks"]
FLAGS = {"scannet": ["--fixed_points"]}  # of RGB training

try:
    SCENES = {OUTPUT: read_scenes(config["scenes"], tuple(config["phrases"]))} if config["scenes"] else {}
except SceneTableError as error:
    raise WorkflowError(str(error))
if config["locate"] and config["locate"] not in FIELDS:
    config["locate"] = None
RGB_FLAGS = {OUTPUT: ["--eval"] if config["hold_out"] else []}
for name, benchmark in BENCHMARKS.items():
    root = benchmark["output"] = benchmark["output"].rstrip("/")
    if root == OUTPUT and config["scenes"]:
        raise WorkflowError(f"`output` and the benchmark {name} are the same folder {root}, but train differently.")
    SCENES.setdefault(root, {}).update({scene: Scene(scene, f"{benchmark['data']}/{scene}") for scene in benchmark["scenes"]})
    RGB_FLAGS.setdefault(root, FLAGS.get(name, []))


wildcard_constraints:
    root="|".join(re.escape(root) for root in SCENES) or "[^/]+",
    scene=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    seed=r"\d+",
    field="|".join(re.escape(name) for name in FIELDS),
    features="|".join(re.escape(name) for name in EXTRACTORS),
    shard=r"\d+",
    shards=r"\d+",
    benchmark="|".join(re.escape(name) for name in BENCHMARKS),


def marker(root, scene, *parts):
    """The file that says that a job succeeded."""
    return "/".join([root, "workflow", scene, *parts]) + ".done"


def of_model(job):
    """Marker, log and benchmark file of a job on one model, as wildcards."""
    return "{root}/workflow/{scene}/seed_{seed}/" + job


def chosen_scenes():
    """The scenes of the table or folder."""
    if OUTPUT not in SCENES:
        raise WorkflowError("No scenes. Say where they are: --config scenes=<folder or table.tsv>, or name a benchmark as the target.")
    return SCENES[OUTPUT]


def scene_of(wildcards):
    return SCENES[wildcards.root][wildcards.scene]


def model_of(wildcards):
    return f"{wildcards.root}/{wildcards.scene}/seed_{wildcards.seed}"


def field_of(wildcards):
    return FIELDS[wildcards.field]


def gpus(helps=True):
    """GPUs that a job asks for."""
    return int(helps and config["gpus"] != "none")


def runtime(stage):
    """Minutes of a stage by the number of photographs, more in every attempt."""
    return lambda wildcards, attempt: minutes(stage, count_photographs(scene_of(wildcards)), config["preset"], attempt)


def memory(stage):
    """Memory of a stage by the number of photographs, more in every attempt."""
    return lambda wildcards, attempt: megabytes(stage, count_photographs(scene_of(wildcards)), config["preset"], attempt)


def finish():
    """Write the index of everything once more, and say what failed."""
    roots = [root for root in SCENES if Path(root, "workflow").is_dir()]
    for root in roots:
        write_failures(Path(root))
        subprocess.run(COMMANDS.index(root), check=False)
    text = summary([Path(root) for root in roots])
    if text:
        sys.stderr.write(f"\n{text}\n")
