# In: the data set and the first weights.
# Out: the files of a run for each variant: the backbone trained for another objective.
use rule finetune_backbone as finetune_variant with:
    pathvars:
        model=VARIANT,


use rule export_backbone as export_variant with:
    pathvars:
        model=VARIANT,


use rule embed as embed_variant with:
    pathvars:
        model=VARIANT,


use rule evaluate_backbone as evaluate_variant with:
    pathvars:
        model=VARIANT,


use rule train_child as train_variant_child with:
    pathvars:
        model=VARIANT,


use rule reduce_child as reduce_variant_child with:
    pathvars:
        model=VARIANT,


use rule fit_head as fit_variant_head with:
    pathvars:
        model=VARIANT,


use rule evaluate_hierarchy as evaluate_variant_hierarchy with:
    pathvars:
        model=VARIANT,


# After the rules, since Snakemake sees the wildcards of a pathvar once a rule has it.
wildcard_constraints:
    variant="|".join(name for name in VARIANTS if name != OWN) or "(?!)",
