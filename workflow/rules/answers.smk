# What is asked of a model: pictures (stage 4), answers in pictures (stage 5), objects in space (stage 6), and the index of everything.


rule render:
    input:
        of_model("gaussians.done"),
    output:
        touch(of_model("render.done")),
    log:
        of_model("render.log"),
    benchmark:
        of_model("render.tsv")
    threads: 2
    resources:
        runtime=runtime("render"),
        mem_mb=memory("render"),
        gpu=0,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.render(scene_of(wildcards), model_of(wildcards), None)),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


rule render_codes:
    input:
        of_model("language_{field}.done"),
    output:
        touch(of_model("render_{field}.done")),
    log:
        of_model("render_{field}.log"),
    benchmark:
        of_model("render_{field}.tsv")
    threads: 2
    resources:
        runtime=runtime("render"),
        mem_mb=memory("render"),
        gpu=0,
        in_submission=1,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.render(scene_of(wildcards), model_of(wildcards), field_of(wildcards))),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


rule query:
    input:
        of_model("language_{field}.done"),
    output:
        touch(of_model("query_{field}.done")),
    log:
        of_model("query_{field}.log"),
    benchmark:
        of_model("query_{field}.tsv")
    threads: 2
    resources:
        runtime=runtime("query"),
        mem_mb=memory("query"),
        gpu=0,
        in_submission=1,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.query(scene_of(wildcards), model_of(wildcards), field_of(wildcards))),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


rule locate:
    input:
        of_model(f"language_{config['locate']}.done"),
    output:
        touch(of_model("locate.done")),
    log:
        of_model("locate.log"),
    benchmark:
        of_model("locate.tsv")
    threads: 2
    resources:
        runtime=runtime("locate"),
        mem_mb=memory("locate"),
        gpu=0,
        in_submission=1,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.locate(scene_of(wildcards), model_of(wildcards), FIELDS[config["locate"]])),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


def everything_of(wildcards):
    """All that a model of a scene ends in."""
    here = (wildcards.root, wildcards.scene, f"seed_{wildcards.seed}")
    jobs = [f"language_{field}" for field in FIELDS]
    if scene_of(wildcards).phrases:
        jobs += [f"query_{field}" for field in FIELDS] + (["locate"] if config["locate"] else [])
    if config["render"]:
        jobs += ["render", *(f"render_{field}" for field in FIELDS)]
    return [marker(*here, job) for job in jobs]


# The page is written again when a model is finished, but at most twice a minute, and at the end of the run.
rule listed:
    input:
        everything_of,
    output:
        touch(of_model("listed.done")),
    log:
        of_model("listed.log"),
    params:
        command=lambda wildcards: shlex.join(COMMANDS.index(wildcards.root, every=30)),
    shell:
        "{RUN} --lock {wildcards.root:q}/workflow/index.lock -- {params.command} >{log:q} 2>&1"
