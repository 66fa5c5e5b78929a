"""Print how many submissions of how many jobs a dry run would be, by Snakemake's own groups.

Snakemake shows groups of jobs only when it submits them.
"""

import sys

import snakemake.cli
from snakemake.dag import DAG

grouped = DAG.postprocess


async def postprocess(self: DAG, *arguments: object, **named: object) -> None:
    await grouped(self, *arguments, **named)
    jobs = set(self.needrun_jobs())
    submissions = {self.get_job_group(job) or job for job in jobs}
    print(f"{len(submissions)} submissions of {len(jobs)} jobs")


DAG.postprocess = postprocess
snakemake.cli.main(["--dry-run", *sys.argv[1:]])
