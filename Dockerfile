# The pipeline with all that it needs: docker build -t treehead .
FROM python:3.11-slim
WORKDIR /treehead
COPY requirements.lock requirements-dev.lock ./
# As in the Makefile; the first line installs what the second one builds with.
RUN pip install --no-cache-dir --no-deps --no-build-isolation "$(grep ^setuptools== requirements.lock)" \
    && pip install --no-cache-dir --no-deps --no-build-isolation --requirement requirements.lock \
    && pip install --no-cache-dir --constraint requirements.lock --constraint requirements-dev.lock snakemake-storage-plugin-s3
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .
ENTRYPOINT ["snakemake"]
CMD ["--cores", "all"]
