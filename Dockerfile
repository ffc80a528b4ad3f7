# The image of workers, of the servers in compose.yaml, and of the jobs of flows/kubernetes.json:
#   docker build --tag yoloslim .                              for CPUs
#   docker build --tag yoloslim:cuda --build-arg TORCH_INDEX= . for NVIDIA GPUs: PyPI's PyTorch brings CUDA with it
FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=prefect,postgresql,runtimes
ENV PYTHONUNBUFFERED=1 DVC_NO_ANALYTICS=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 yoloslim
WORKDIR /opt/yoloslim
COPY . .
RUN PIP_EXTRA_INDEX_URL="$TORCH_INDEX" .ci/install ".[$EXTRAS]" 'dvc[s3]' \
    && mkdir /state /checkout /artifacts \
    && chown yoloslim /state /checkout /artifacts \
    && git config --system --add safe.directory /checkout
USER 1000
WORKDIR /checkout
CMD ["yoloslim", "--help"]
