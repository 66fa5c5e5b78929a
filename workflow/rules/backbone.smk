# In: the dataset and the weights' source. Out: a fine-tuned, frozen backbone and each split's embeddings.
rule fetch_weights:
    """Weights of any make, or a seeded initialisation, as one canonical file."""
    input:
        **LOCAL_FILES["weights"],
        code=code("fetch_weights"),
    output:
        weights=f"{WEIGHTS}.safetensors",
        provenance=f"{WEIGHTS}.json",
    log:
        f"{WEIGHTS}.log",
    threads: 1
    params:
        weights=stages.weights(config),
    script:
        "../scripts/fetch_weights.py"


rule finetune_backbone:
    """Train backbone and head on train, and keep the best epoch by val; no epochs keep the weights."""
    input:
        train=f"{DATASET}/train.parquet",
        weights=f"{WEIGHTS}.safetensors",
        code=code("finetune_backbone"),
    output:
        weights="<results>/backbone/weights.safetensors",
        head="<results>/backbone/head.safetensors",
        history="<results>/backbone/history.csv",
    log:
        "<results>/logs/finetune_backbone.log",
    benchmark:
        "<results>/benchmarks/finetune_backbone.tsv"
    threads: config["threads"]["backbone"]
    params:
        finetune=stages.finetune(config, TAXONOMY),
    script:
        "../scripts/finetune_backbone.py"


rule evaluate_backbone:
    """The head that the backbone was trained with, on the test images."""
    input:
        head="<results>/backbone/head.safetensors",
        val="<results>/embeddings/val.safetensors",
        test="<results>/embeddings/test.safetensors",
        code=code("evaluate_backbone"),
    output:
        "<results>/backbone/metrics.json",
    log:
        "<results>/logs/evaluate_backbone.log",
    threads: 1
    params:
        own_head=stages.own_head(config, TAXONOMY),
    script:
        "../scripts/evaluate_backbone.py"


rule export_backbone:
    """The backbone as ONNX, images in and features out, proven equal to the eager network."""
    input:
        weights="<results>/backbone/weights.safetensors",
        train=f"{DATASET}/train.parquet",
        code=code("export_backbone"),
    output:
        "<results>/backbone/backbone.onnx",
    log:
        "<results>/logs/export_backbone.log",
    threads: 1
    params:
        export=stages.export(config),
    script:
        "../scripts/export_backbone.py"


rule count_backbone:
    """What the backbone costs, for those who compare heads."""
    input:
        code=code("count_backbone"),
    output:
        "<results>/backbone/cost.json",
    log:
        "<results>/logs/count_backbone.log",
    threads: 1
    params:
        export=stages.export(config),
    script:
        "../scripts/count_backbone.py"


rule embed:
    """Every image of a split once per view through the frozen backbone."""
    input:
        images=branch(
            lambda wildcards: wildcards.split == "test",
            then=f"{DATASET}/test.parquet",
            otherwise=f"{DATASET}/train.parquet",
        ),
        onnx="<results>/backbone/backbone.onnx",
        weights="<results>/backbone/weights.safetensors",
        code=code("embed"),
    output:
        "<results>/embeddings/{split}.safetensors",
    log:
        "<results>/logs/embed/{split}.log",
    benchmark:
        "<results>/benchmarks/embed/{split}.tsv"
    threads: config["threads"]["backbone"]
    params:
        embed=lambda wildcards: stages.embed(config, wildcards.split),
    script:
        "../scripts/embed.py"
