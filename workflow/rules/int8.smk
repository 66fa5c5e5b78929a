# In: the backbone in 8 bits.
# Out: the files of a model for it: embeddings, heads, comparison.
INT8 = "<results>/int8"


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
