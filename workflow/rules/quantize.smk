# In: the trained backbone and the images of train.
# Out: the backbone in 8 bits, and the files of a model for it: embeddings, heads, comparison.
INT8 = "<results>/int8"


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
    params:
        quantize=stages.quantize(config),
    script:
        "../scripts/quantize_backbone.py"


use rule embed as embed_int8 with:
    pathvars:
        model=INT8,
    params:
        embed=lambda wildcards: stages.embed_int8(config, wildcards.split),


use rule fit_head as fit_int8_head with:
    pathvars:
        model=INT8,


use rule pack_head as pack_int8_head with:
    pathvars:
        model=INT8,


use rule evaluate_head as evaluate_int8_head with:
    pathvars:
        model=INT8,


use rule choose_head as choose_int8_head with:
    pathvars:
        model=INT8,


use rule evaluate_choice as evaluate_int8_choice with:
    pathvars:
        model=INT8,


if config["comparison"]["processor"]:

    use rule count_instructions as count_int8_instructions with:
        input:
            backbone="<model>/backbone/backbone.onnx",
            train="<model>/embeddings/train.safetensors",
            val="<model>/embeddings/val.safetensors",
            packed=expand(
                "<model>/heads/{{head}}/packed/{precision}-{seed}.bin",
                precision=config["precisions"],
                seed=config["seeds"][0],
            ),
            code=code("count_instructions"),
        pathvars:
            model=INT8,


use rule compare_heads as compare_int8_heads with:
    pathvars:
        model=INT8,
    params:
        comparison=stages.comparison_int8(config),


rule build_int8_classifier:
    """The whole classifier with the backbone and the head in 8 bits."""
    input:
        **COMPLETING,
        weights="<results>/backbone/weights.safetensors",
        quantized="<results>/int8/backbone/weights.safetensors",
        taxonomy="<results>/taxonomy.json",
        val="<results>/int8/embeddings/val.safetensors",
        choice=branch(CHOSEN, then="<results>/int8/heads/choice.json", otherwise=[]),
        packed=expand("<results>/int8/heads/{head}/packed/{name}.bin", head=DEPLOYED, name=PACKED),
        code=code("build_int8_classifier", *HEADS, network=True),
    output:
        "<results>/deploy/classifier-int8.onnx",
    log:
        "<results>/logs/build_int8_classifier.log",
    threads: config["threads"]["heads"]
    params:
        deploy=stages.deploy_int8(config, HEADS),
    script:
        "../scripts/build_int8_classifier.py"


use rule evaluate_classifier as evaluate_int8_classifier with:
    input:
        classifier="<results>/deploy/classifier-int8.onnx",
        images=f"{DATASET}/test.npy",
        table=f"{DATASET}/test.parquet",
        predictions=expand("<results>/int8/heads/{head}/predictions.parquet", head=DEPLOYED),
        code=code("evaluate_classifier"),
    output:
        "<results>/deploy/metrics-int8.json",
    log:
        "<results>/logs/evaluate_int8_classifier.log",


use rule write_c as write_int8_c with:
    input:
        backbone="<results>/int8/backbone/backbone.onnx",
        train="<results>/int8/embeddings/train.safetensors",
        val="<results>/int8/embeddings/val.safetensors",
        choice=branch(CHOSEN, then="<results>/int8/heads/choice.json", otherwise=[]),
        packed=expand("<results>/int8/heads/{head}/packed/{name}.bin", head=DEPLOYED, name=PACKED),
        code=code("write_c"),
    output:
        expand("<results>/deploy/int8/{file}", file=["head.h", "head.c", "example.c"]),
    log:
        "<results>/logs/write_int8_c.log",
