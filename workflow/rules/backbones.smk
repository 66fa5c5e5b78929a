# In: the source of the weights, a trained backbone and the images.
# Out: a backbone's first weights, its ONNX file, its cost and its embeddings.
rule fetch_weights:
    """Weights of any accepted format, or a seeded initialisation, as one canonical file."""
    input:
        **{name: local(files) for name, files in stages.local_weights(config).items()},
        code=code("fetch_weights", network=True),
    output:
        weights=f"{WEIGHTS}.safetensors",
        provenance=f"{WEIGHTS}.json",
    log:
        f"{WEIGHTS}.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        weights=stages.weights(config),
    script:
        "../scripts/fetch_weights.py"


rule export_backbone:
    """The backbone as ONNX, images in and features out, compared with the eager network."""
    input:
        **COMPLETING,
        weights="{model}/backbone/weights.safetensors",
        images=f"{DATASET}/train.npy",
        table=f"{DATASET}/train.parquet",
        code=code("export_backbone", network=True),
    output:
        "{model}/backbone/backbone.onnx",
    log:
        "{model}/logs/export_backbone.log",
    wildcard_constraints:
        model=one_of(TRAINED),
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        export=stages.export(config),
    script:
        "../scripts/export_backbone.py"


rule count_backbone:
    """The cost of the backbone, for the comparison of heads."""
    input:
        **COMPLETING,
        code=code("count_backbone", network=True),
    output:
        "{model}/backbone/cost.json",
    log:
        "{model}/logs/count_backbone.log",
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        export=stages.export(config),
    script:
        "../scripts/count_backbone.py"


# A split is embedded by one job, or by one for each shard of its images.
SHARDS = config["embed"]["shards"]
EMBEDDED = "{split}" if SHARDS == 1 else "{split}/{shard}"


rule embed:
    """Features of images of a split in each view, from the frozen backbone."""
    input:
        **COMPLETING,
        images=lambda wildcards: f"{DATASET}/{file_of(wildcards.split)}.npy",
        table=lambda wildcards: f"{DATASET}/{file_of(wildcards.split)}.parquet",
        onnx="{model}/backbone/backbone.onnx",
        weights="{model}/backbone/weights.safetensors",
        code=code("embed", network=True),
    output:
        f"{{model}}/embeddings/{EMBEDDED}.safetensors",
    log:
        f"{{model}}/logs/embed/{EMBEDDED}.log",
    benchmark:
        f"{{model}}/benchmarks/embed/{EMBEDDED}.tsv"
    threads: config["threads"]["backbone"]
    resources:
        mem_mb=4000,
        runtime=max(10, 60 // SHARDS),
    params:
        embed=lambda wildcards: stages.embed(config, wildcards.split, wildcards.model)
        | stages.shard(config, wildcards.get("shard", 0)),
    script:
        "../scripts/embed.py"


if SHARDS > 1:

    rule join_embeddings:
        """The shards of a split as one file."""
        input:
            shards=expand("{{model}}/embeddings/{{split}}/{shard}.safetensors", shard=range(SHARDS)),
            code=code("join_embeddings"),
        output:
            "{model}/embeddings/{split}.safetensors",
        log:
            "{model}/logs/join_embeddings/{split}.log",
        threads: 1
        resources:
            runtime=10,
        script:
            "../scripts/join_embeddings.py"
