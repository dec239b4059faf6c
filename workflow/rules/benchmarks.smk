# Published benchmarks: each one target, which ends in the table that scripts/<name>.sh prints, one for every field.


def models_of(root, scene):
    return [f"{root}/{scene}/seed_{seed}" for seed in SEEDS]


def all_models_of(wildcards):
    return [model for scene in BENCHMARKS[wildcards.benchmark]["scenes"] for model in models_of(wildcards.root, scene)]


rule evaluate:
    input:
        lambda wildcards: [
            marker(wildcards.root, wildcards.scene, f"seed_{seed}", f"language_{wildcards.field}") for seed in SEEDS
        ],
    output:
        touch("{root}/workflow/{scene}/evaluate_{benchmark}_{field}.done"),
    log:
        "{root}/workflow/{scene}/evaluate_{benchmark}_{field}.log",
    benchmark:
        "{root}/workflow/{scene}/evaluate_{benchmark}_{field}.tsv"
    threads: 2
    resources:
        runtime=runtime("evaluate"),
        mem_mb=memory("evaluate"),
        gpu=gpus(),
    params:
        command=lambda wildcards: shlex.join(
            COMMANDS.evaluate(
                wildcards.benchmark,
                BENCHMARKS[wildcards.benchmark],
                wildcards.scene,
                models_of(wildcards.root, wildcards.scene),
                field_of(wildcards),
            )
        ),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


def measured(wildcards):
    """What a table needs: the measurement of every scene, or for ScanNet, whose table measures, its models."""
    root, scenes = wildcards.root, BENCHMARKS[wildcards.benchmark]["scenes"]
    if wildcards.benchmark == "scannet":
        return [marker(root, scene, f"seed_{seed}", f"language_{wildcards.field}") for scene in scenes for seed in SEEDS]
    return [marker(root, scene, f"evaluate_{wildcards.benchmark}_{wildcards.field}") for scene in scenes]


rule table:
    input:
        measured,
    output:
        table="{root}/workflow/table_{benchmark}_{field}.txt",
        done=touch("{root}/workflow/table_{benchmark}_{field}.done"),
    log:
        "{root}/workflow/table_{benchmark}_{field}.log",
    threads: 2
    resources:
        runtime=60,
        mem_mb=6000,
        gpu=lambda wildcards: gpus(wildcards.benchmark == "scannet"),
    params:
        command=lambda wildcards: shlex.join(
            COMMANDS.table(
                wildcards.benchmark, BENCHMARKS[wildcards.benchmark], all_models_of(wildcards), field_of(wildcards)
            )
        ),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output.done:q}.lock -- {params.command} >{output.table:q} 2>{log:q}"


for name, benchmark in BENCHMARKS.items():

    rule:
        name:
            name
        localrule: True
        input:
            [f"{benchmark['output']}/workflow/table_{name}_{field}.txt" for field in FIELDS],
        shell:
            "cat {input:q}"
