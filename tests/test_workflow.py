"""The workflow's parts that need no Snakemake: scenes, commands, locks and GPUs, failures."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_scripts import CHECK, accepted, run_script

from features.registry import EXTRACTORS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from commands import OF_PATCHES, Commands  # noqa: E402
from failures import failures, reason, summary, write_failures  # noqa: E402
from run_job import take_gpu  # noqa: E402
from scene_table import Scene, SceneTableError, count_photographs, read_scenes  # noqa: E402
from stage_resources import COSTS, megabytes, minutes  # noqa: E402


def table(folder, text):
    path = folder / "scenes.tsv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_extractors_of_patches_are_those_that_have_no_other_level():
    patches = {name for name, spec in EXTRACTORS.items() if tuple(spec.store.trained_levels) == ("grid",)}
    assert set(OF_PATCHES) == patches


def test_a_table_says_where_each_scene_is_and_what_it_is_asked(tmp_path):
    text = "scene\tphrases\tsource_path\tphotographs\na\tred mug | Grüße\tdata/a\t\n\nb-2\t\tdata/b\tvideo.mp4\n"
    scenes = read_scenes(table(tmp_path, text), ("lamp",))
    assert list(scenes) == ["a", "b-2"]
    assert scenes["a"] == Scene("a", "data/a", None, ("red mug", "Grüße"))
    assert scenes["b-2"] == Scene("b-2", "data/b", "video.mp4", ("lamp",))


def test_a_folder_has_its_scenes_by_name_and_nothing_else(tmp_path):
    for name in ("z", "a", ".hidden"):
        (tmp_path / name / "images").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    scenes = read_scenes(str(tmp_path))
    assert list(scenes) == ["a", "z"] and scenes["a"].source_path == str(tmp_path / "a")
    (tmp_path / "a" / "images" / "left").mkdir()
    for name in ("1.jpg", "left/2.PNG", "notes.txt"):
        (tmp_path / "a" / "images" / name).touch()
    assert count_photographs(scenes["a"]) == 2
    assert count_photographs(scenes["z"]) > 2, "nothing to count yet: a usual number"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scene,source_path\na,b\n", "separated by tabs"),
        ("scene\tsource_path\tcolour\na\tb\tred\n", "colour"),
        ("scene\tsource_path\n", "names no scene"),
        ("scene\tsource_path\na\tx\na\ty\n", "line 3: a second scene named 'a'"),
        ("scene\tsource_path\n../a\tx\n", "line 2: '../a' cannot be the name"),
        ("scene\tsource_path\nworkflow\tx\n", "cannot be the name"),
        ("scene\tsource_path\na\t\n", "no source_path"),
        ("scene\tsource_path\na\tx\ty\n", "more values"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(SceneTableError, match=said):
        read_scenes(table(tmp_path, text))


def test_no_scenes_are_refused(tmp_path):
    with pytest.raises(SceneTableError, match="contains no scene"):
        read_scenes(str(tmp_path))
    with pytest.raises(SceneTableError, match="No folder or table"):
        read_scenes(str(tmp_path / "missing"))


@pytest.fixture
def config():
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    return settings | {"preset": "fast", "iterations": 100, "python": "python"}


def words(command):
    """The arguments after the interpreter, with the script's name alone, as run_script records them."""
    begin = command.index("python")
    return [Path(word).name if word.endswith(".py") else word for word in command[begin + 1 :]]


def as_flags(call):
    """Script or module, and the values of every flag, in any order. `--field`, which the scripts leave to its default, aside."""
    name = call[1] if call[0] == "-m" else call[0]
    flags, last = {}, None
    for word in call[2:] if call[0] == "-m" else call[1:]:
        if word.startswith("-"):
            last = flags.setdefault(word, [])
        else:
            last.append(word)
    flags.pop("--field", None)
    return name, tuple(sorted((flag, tuple(values)) for flag, values in flags.items()))


BENCHMARKS = {
    "lerf_ovs": ("lerf_ovs.sh", {"RULE": "langsplat_v2", "READING": "fast"}, {"rule": "langsplat_v2", "reading": "fast"}),
    "lerf_ovs_3d": ("lerf_ovs_3d.sh", {"PHRASES": "labels"}, {"phrases": "labels"}),
    "3d_ovs": ("3d_ovs.sh", {"RULE": "gags", "LEVEL": "grid"}, {"rule": "gags", "level": "grid"}),
    "scannet": ("scannet.sh", {}, {}),
    "mipnerf360_ov": ("mipnerf360_ov.sh", {}, {}),
}


@pytest.mark.parametrize("method", ["autoencoder", "pca", "codebook"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_of_the_workflow_runs_the_commands_of_its_script(name, method, config, tmp_path, monkeypatch, capsys):
    script, variables, settings = BENCHMARKS[name]
    benchmark = config["benchmarks"][name] | settings
    config["fields"] = [{"name": "x", "features": "dino", "method": method}]
    config["options"]["evaluate"] = ["--talk2dino_ckpt", "t.pth"]
    arguments = [benchmark["data"], *([benchmark["labels"]] if "labels" in benchmark else []), benchmark["output"]]
    variables |= {
        "FEATURES": "dino",
        "TALK2DINO": "t.pth",
        "PRESET": "fast",
        "ITERATIONS": "100",
        "METHOD": method,
        "SEEDS": "0 1",
    }
    check, *theirs = run_script(ROOT / "scripts" / script, tmp_path, variables, arguments)
    assert check[1] == CHECK
    commands, field = Commands(config, ROOT), Commands(config, ROOT).fields["x"]
    ours, models = [], []
    for name_of_scene in benchmark["scenes"]:
        scene = Scene(name_of_scene, f"{benchmark['data']}/{name_of_scene}")
        ours.append(commands.preprocess(scene, "dino", "1/1"))
        of_scene = [f"{benchmark['output']}/{name_of_scene}/seed_{seed}" for seed in (0, 1)]
        for seed, model in enumerate(of_scene):
            flags = ["--fixed_points"] if name == "scannet" else []
            ours.append(commands.compress(scene, model, str(seed), field))
            ours.append(commands.gaussians(scene, model, str(seed), flags))
            ours.append(commands.language(scene, model, str(seed), field))
        if name != "scannet":
            ours.append(commands.evaluate(name, benchmark, name_of_scene, of_scene, field))
        models += of_scene
    ours.append(commands.table(name, benchmark, models, field))
    assert [as_flags(words(command)) for command in ours] == [as_flags(call) for call in theirs]
    for command in {call[0]: call for call in map(words, ours)}.values():
        accepted(command, monkeypatch, capsys)


def test_every_command_of_a_scene_is_accepted(config, monkeypatch, capsys):
    commands = Commands(config, ROOT)
    scene = Scene("a", "data/a", "video.mp4", ("-10% label", "red mug"))
    lifted, model = commands.fields["lifted"], "output/a/seed_0"
    for command in (
        commands.convert(scene),
        commands.preprocess(scene, "mini", "2/3"),
        commands.compress(scene, model, "0", lifted),
        commands.gaussians(scene, model, "0", ["--eval"]),
        commands.language(scene, model, "0", lifted),
        commands.render(scene, model, None),
        commands.render(scene, model, lifted),
        commands.index("output"),
    ):
        accepted(words(command), monkeypatch, capsys)
    for command in (commands.query(scene, model, lifted), commands.locate(scene, model, lifted)):
        parsed = accepted(words(command), monkeypatch, capsys)
        assert [phrase.strip() for phrase in parsed.text] == ["-10% label", "red mug"] and parsed.field == "lifted"


def run_job(folder, *command, flags=(), wait=True):
    call = [sys.executable, str(SCRIPTS / "run_job.py"), "--lock", str(folder / "job.lock"), *flags, "--", *command]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)}
    )
    return process.communicate() if wait else process


def shown(path):
    """Wait for a file that a command writes, for a minute at most."""
    end = time.monotonic() + 60
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < end, f"{path} was never written"
        time.sleep(0.02)
    return path.read_text().strip()


def test_four_jobs_on_three_gpus_have_one_each_and_the_fourth_waits_for_a_free_one(tmp_path):
    jobs = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        call = [
            sys.executable,
            str(SCRIPTS / "run_job.py"),
            "--lock",
            str(folder / "lock"),
            "--gpus",
            "0,1,GPU-f00",
            "--wanted",
            "1",
            "--",
        ]
        call += ["bash", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >{folder}/gpu; read line']
        jobs.append(
            subprocess.Popen(call, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(tmp_path)})
        )
        if number < 3:
            shown(folder / "gpu")
    devices = [shown(tmp_path / str(number) / "gpu") for number in range(3)]
    assert sorted(devices) == ["0", "1", "GPU-f00"]
    assert not (tmp_path / "3" / "gpu").exists(), "no GPU is free"
    jobs[1].kill()  # a lock goes with the process, however it ends
    assert shown(tmp_path / "3" / "gpu") == devices[1]
    for job in jobs:
        job.communicate(b"\n")


def test_a_gpu_whose_holder_has_ended_is_free_again(tmp_path):
    assert take_gpu(["7"], tmp_path) == "7"
    assert take_gpu(["7", "8"], tmp_path) == "8"


def test_a_job_without_use_for_a_gpu_sees_none(tmp_path):
    out, _ = run_job(tmp_path, "bash", "-c", 'echo "[$CUDA_VISIBLE_DEVICES]"', flags=["--gpus", "0,1", "--wanted", "0"])
    assert out == "[]\n"


def test_the_same_job_started_twice_waits_for_the_first(tmp_path):
    first = run_job(tmp_path, "bash", "-c", f"echo >{tmp_path}/begun; sleep 2; echo first >>{tmp_path}/order", wait=False)
    shown(tmp_path / "begun")
    _, said = run_job(tmp_path, "bash", "-c", f"echo second >>{tmp_path}/order")
    first.communicate()
    assert (tmp_path / "order").read_text().split() == ["first", "second"]
    assert "still running" in said and "+ bash -c" in said


def test_a_job_ends_with_the_exit_code_of_its_command(tmp_path):
    job = run_job(tmp_path, "bash", "-c", "exit 7", wait=False)
    job.communicate()
    assert job.returncode == 7
    _, said = run_job(tmp_path, str(tmp_path / "no python"))
    assert "make install" in said


def write_log(output, job, text, done=False):
    log = output / "workflow" / f"{job}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    if done:
        log.with_suffix(".done").touch()
    return log


def test_failures_are_the_jobs_without_a_marker_with_the_last_error_of_their_log(tmp_path):
    write_log(tmp_path, "a/seed_0/gaussians", "+ python train.py\nerror: old trouble\n", done=True)
    log = write_log(
        tmp_path, "b b/preprocess", "+ python x\nerror: first try\n+ python x\nfeatures:  50%|██| 3/6\rerror: no photographs\n"
    )
    (found,) = failures(tmp_path)
    assert (found.job, found.reason) == ("b b/preprocess", "error: no photographs")
    text = summary([tmp_path])
    assert "1 job failed" in text and f"less +G '{log}'" in text
    assert not summary([tmp_path / "empty"])
    write_failures(tmp_path)
    assert '"log": "workflow/b b/preprocess.log"' in (tmp_path / "workflow/failures.json").read_text()


def test_a_job_killed_without_a_word_is_said_to_be(tmp_path):
    log = write_log(tmp_path, "a", "+ python train.py\n200 photographs\niteration:  10%|█ | 1/10\r")
    assert "out of memory or out of time; its last line: 200 photographs" in reason(log)
    killed = write_log(tmp_path, "b", "+ python x\nloading\nslurmstepd: error: *** JOB 5 CANCELLED DUE TO TIME LIMIT ***\n")
    assert "TIME LIMIT" in reason(killed)
    assert "never started" in reason(write_log(tmp_path, "c", ""))


def test_every_attempt_asks_for_more():
    for stage in COSTS:
        assert minutes(stage, 100, "fast", 2) == 2 * minutes(stage, 100, "fast", 1)
        assert megabytes(stage, 100, None, 2) > megabytes(stage, 100, None, 1)
    assert minutes("gaussians", 200, None) > minutes("gaussians", 200, "fast")
    assert minutes("preprocess", 200, None) > minutes("preprocess", 100, None)
