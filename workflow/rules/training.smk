# In: the data set and the first weights.
# Out: the trained backbone, and the head that it was trained with.
rule finetune_backbone:
    """Train backbone and head on train and keep the best epoch by val; 0 epochs keep the weights."""
    input:
        **COMPLETING,
        images=f"{DATASET}/train.npy",
        table=f"{DATASET}/train.parquet",
        weights=f"{WEIGHTS}.safetensors",
        code=code("finetune_backbone", network=True),
    output:
        weights="<model>/backbone/weights.safetensors",
        head="<model>/backbone/head.safetensors",
        history="<model>/backbone/history.csv",
    log:
        "<model>/logs/finetune_backbone.log",
    benchmark:
        "<model>/benchmarks/finetune_backbone.tsv"
    threads: config["threads"]["backbone"]
    params:
        finetune=lambda wildcards: stages.finetune(configured(wildcards), TAXONOMY),
    script:
        "../scripts/finetune_backbone.py"
