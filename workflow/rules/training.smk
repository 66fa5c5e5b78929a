# In: the data set and the first weights.
# Out: the trained backbone, and the head that it was trained with; the backbone in 8 bits.
rule finetune_backbone:
    """Train backbone and head on train and keep the best epoch by val; 0 epochs keep the weights."""
    input:
        **COMPLETING,
        images=f"{DATASET}/train.npy",
        table=f"{DATASET}/train.parquet",
        weights=f"{WEIGHTS}.safetensors",
        code=code("finetune_backbone", network=True),
    output:
        weights="{model}/backbone/weights.safetensors",
        head="{model}/backbone/head.safetensors",
        history="{model}/backbone/history.csv",
    log:
        "{model}/logs/finetune_backbone.log",
    benchmark:
        "{model}/benchmarks/finetune_backbone.tsv"
    wildcard_constraints:
        model=one_of(TRAINED),
    threads: config["threads"]["backbone"]
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        finetune=lambda wildcards: stages.finetune(training_of(wildcards.model), TAXONOMY),
    script:
        "../scripts/finetune_backbone.py"


rule quantize_backbone:
    """The backbone with weights and values of 8 bits, trained to give the features of the float one."""
    input:
        **COMPLETING,
        images=f"{DATASET}/train.npy",
        table=f"{DATASET}/train.parquet",
        weights="<results>/backbone/weights.safetensors",
        onnx="<results>/backbone/backbone.onnx",
        code=code("quantize_backbone", network=True),
    output:
        weights="<results>/int8/backbone/weights.safetensors",
        onnx="<results>/int8/backbone/backbone.onnx",
        history="<results>/int8/backbone/history.csv",
    log:
        "<results>/int8/logs/quantize_backbone.log",
    benchmark:
        "<results>/int8/benchmarks/quantize_backbone.tsv"
    threads: config["threads"]["backbone"]
    resources:
        mem_mb=8000,
        runtime=1440,
    params:
        quantize=stages.quantize(config),
    script:
        "../scripts/quantize_backbone.py"
