# What is computed once for a scene, for all models: cameras (stage 0) and features (stage 1).


rule convert:
    output:
        touch("{root}/workflow/{scene}/convert.done"),
    log:
        "{root}/workflow/{scene}/convert.log",
    benchmark:
        "{root}/workflow/{scene}/convert.tsv"
    threads: 4
    resources:
        runtime=runtime("convert"),
        mem_mb=memory("convert"),
        gpu=0,
    params:
        command=lambda wildcards: shlex.join(COMMANDS.convert(scene_of(wildcards))),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


def cameras(wildcards):
    """The conversion of the scene, if it is made from photographs or a video."""
    return marker(wildcards.root, wildcards.scene, "convert") if scene_of(wildcards).photographs else []


def extraction(wildcards):
    return "preprocess" if wildcards.features in BUNDLED else "preprocess_networks"


rule preprocess:
    input:
        cameras,
    output:
        touch("{root}/workflow/{scene}/preprocess_{features}_{shard}of{shards}.done"),
    log:
        "{root}/workflow/{scene}/preprocess_{features}_{shard}of{shards}.log",
    benchmark:
        "{root}/workflow/{scene}/preprocess_{features}_{shard}of{shards}.tsv"
    threads: 4
    resources:
        runtime=lambda wildcards, attempt: runtime(extraction(wildcards))(wildcards, attempt),
        mem_mb=lambda wildcards, attempt: memory(extraction(wildcards))(wildcards, attempt),
        gpu=lambda wildcards: gpus(wildcards.features not in BUNDLED),
    params:
        command=lambda wildcards: shlex.join(COMMANDS.preprocess(scene_of(wildcards), wildcards.features, f"{wildcards.shard}/{wildcards.shards}")),
    shell:
        "{RUN} --wanted {resources.gpu} --lock {output:q}.lock -- {params.command} >>{log:q} 2>&1"


def features_of(wildcards):
    """Every shard of the features that a field is made from."""
    count = config["shards"]
    jobs = [f"preprocess_{field_of(wildcards).features}_{shard}of{count}" for shard in range(1, count + 1)]
    return [marker(wildcards.root, wildcards.scene, job) for job in jobs]
