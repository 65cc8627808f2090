# distill_jax on NVIDIA GPUs or TPUs.
#
#   docker build --build-arg EXTRA=tpu -t distill_jax:tpu .
#   docker build -t distill_jax:cuda .
#   docker run --gpus all --shm-size=1g -v "$PWD/runs:/opt/distill_jax/runs" distill_jax:cuda \
#       --config=configs/demo.py --workdir=runs/demo
#
# CUDA's libraries come with JAX from the package index; the host needs its driver and the NVIDIA
# container toolkit. On GKE and TPU VMs libtpu comes with JAX, too.
FROM python:3.11-slim-bookworm

# Which JAX: cuda or tpu (see setup.py).
ARG EXTRA=cuda

WORKDIR /opt/distill_jax
COPY . .
# Installed in place: configs/ and launch/ are beside the package. gcsfs reads and writes gs://.
RUN pip install --no-cache-dir -c constraints.txt -e ".[${EXTRA}]" 'etils[epath-gcs]'

# launch/run.sh makes no environment where it is given one.
ENV PYTHON=/usr/local/bin/python \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ENTRYPOINT ["launch/run.sh"]
