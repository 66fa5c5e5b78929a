# In: the backbone, the chosen head, and what a run says of itself.
# Out: what is taken away: the model card.
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
