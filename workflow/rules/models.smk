# What is learned for one scene and seed: codes (stage 2), Gaussians and language fields (stage 3).


rule compress:
    input:
        features_of,
    output:
        touch(of_model("compress_{field}.done")),
    log:
        of_model("compress_{field}.log"),
    benchmark:
        of_model("compress_{field}.tsv")
    threads: 2
    resources:
        runtime=runtime("compress"),
        mem_mb=memory("compress"),
        gpu=0,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.compress(scene_of(wildcards), model_of(wildcards), wildcards.seed, field_of(wildcards))),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


rule gaussians:
    input:
        cameras,
    output:
        touch(of_model("gaussians.done")),
    log:
        of_model("gaussians.log"),
    benchmark:
        of_model("gaussians.tsv")
    threads: 4
    resources:
        runtime=runtime("gaussians"),
        mem_mb=memory("gaussians"),
        gpu=gpus(),
    params:
        command=lambda wildcards: shlex.join(COMMANDS.gaussians(scene_of(wildcards), model_of(wildcards), wildcards.seed, RGB_FLAGS[wildcards.root])),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


def training(wildcards):
    return "lift" if field_of(wildcards).method == "codebook" else "language"


rule language:
    input:
        of_model("gaussians.done"),
        of_model("compress_{field}.done"),
    output:
        touch(of_model("language_{field}.done")),
    log:
        of_model("language_{field}.log"),
    benchmark:
        of_model("language_{field}.tsv")
    threads: 4
    resources:
        runtime=lambda wildcards, attempt: runtime(training(wildcards))(wildcards, attempt),
        mem_mb=lambda wildcards, attempt: memory(training(wildcards))(wildcards, attempt),
        gpu=gpus(),
        in_submission=1,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.language(scene_of(wildcards), model_of(wildcards), wildcards.seed, field_of(wildcards))),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"
