# In: the backbone, a packed head, and what a run says of itself.
# Out: what is taken away: the classifier as ONNX, its figures, the model card.
CHOSEN = config["deploy"]["head"] == "chosen"


rule build_classifier:
    """The whole classifier as ONNX: pictures in, class probabilities out, calibrated on val."""
    input:
        **COMPLETING,
        weights="<results>/backbone/weights.safetensors",
        taxonomy="<results>/taxonomy.json",
        val="<results>/embeddings/val.safetensors",
        choice=branch(CHOSEN, then="<results>/heads/choice.json", otherwise=[]),
        packed=expand("<results>/heads/{head}/packed/{name}.bin", head=DEPLOYED, name=PACKED),
        code=code("build_classifier", *HEADS, network=True),
    output:
        "<results>/deploy/classifier.onnx",
    log:
        "<results>/logs/build_classifier.log",
    threads: config["threads"]["heads"]
    resources:
        mem_mb=4000,
        runtime=10,
    params:
        deploy=stages.deploy(config, HEADS),
    script:
        "../scripts/build_classifier.py"


rule evaluate_classifier:
    """The classifier on the test images, beside the pipeline's own predictions."""
    input:
        classifier="<results>/deploy/classifier.onnx",
        images=f"{DATASET}/test.npy",
        table=f"{DATASET}/test.parquet",
        predictions=expand("<results>/heads/{head}/predictions.parquet", head=DEPLOYED),
        code=code("evaluate_classifier"),
    output:
        "<results>/deploy/metrics.json",
    log:
        "<results>/logs/evaluate_classifier.log",
    threads: config["threads"]["backbone"]
    resources:
        mem_mb=4000,
        runtime=60,
    script:
        "../scripts/evaluate_classifier.py"


rule write_c:
    """The head as C in whole numbers, with golden vectors; it reads 16 bits, or a network's 8."""
    input:
        backbone=[],
        train="<results>/embeddings/train.safetensors",
        val="<results>/embeddings/val.safetensors",
        choice=branch(CHOSEN, then="<results>/heads/choice.json", otherwise=[]),
        packed=expand("<results>/heads/{head}/packed/{name}.bin", head=DEPLOYED, name=PACKED),
        code=code("write_c", *HEADS),
    output:
        expand("<results>/deploy/{file}", file=["head.h", "head.c", "example.c"]),
    log:
        "<results>/logs/write_c.log",
    threads: config["threads"]["heads"]
    params:
        deploy=stages.deploy_c(HEADS),
    script:
        "../scripts/write_c.py"


use rule build_classifier as build_int8_classifier with:
    input:
        **COMPLETING,
        weights="<results>/backbone/weights.safetensors",
        rounded="<results>/int8/backbone/weights.safetensors",
        taxonomy="<results>/taxonomy.json",
        val="<results>/int8/embeddings/val.safetensors",
        choice=branch(CHOSEN, then="<results>/int8/heads/choice.json", otherwise=[]),
        packed=expand("<results>/int8/heads/{head}/packed/{name}.bin", head=DEPLOYED, name=PACKED),
        code=code("build_classifier", *HEADS, network=True),
    output:
        "<results>/deploy/classifier-int8.onnx",
    log:
        "<results>/logs/build_int8_classifier.log",
    params:
        deploy=stages.deploy_int8(config, HEADS),


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
        code=code("write_c", *HEADS),
    output:
        expand("<results>/deploy/int8/{file}", file=["head.h", "head.c", "example.c"]),
    log:
        "<results>/logs/write_int8_c.log",


rule write_card:
    """The model card, in the hub's format."""
    input:
        weights=f"{WEIGHTS}.json",
        origin=ORIGIN,
        config="<results>/config.yaml",
        taxonomy="<results>/taxonomy.json",
        backbone="<results>/backbone/backbone.onnx",
        cost="<results>/backbone/cost.json",
        own_head=branch(
            config["finetune"]["epochs"] > 0,
            then="<results>/backbone/metrics.json",
            otherwise=[],
        ),
        tree="<results>/hierarchy100/metrics.json",
        chosen="<results>/chosen.json",
        deployed=["<results>/deploy/classifier.onnx"],
        measured="<results>/deploy/metrics.json",
        code=code("write_card"),
    output:
        "<results>/deploy/MODEL_CARD.md",
    log:
        "<results>/logs/write_card.log",
    threads: 1
    params:
        card={"results": config["results"]},
    script:
        "../scripts/write_card.py"
