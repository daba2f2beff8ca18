# The programs of launch/, in an image. launch/docker/install.sh is all that is installed.
#
#   docker build --build-arg ACCELERATOR=tpu --tag IMAGE .     ACCELERATOR: tpu, gpu, or nothing for CPUs
FROM python:3.12-slim
ARG ACCELERATOR=
WORKDIR /pause_jax
COPY . .
RUN PYTHON=python3 launch/docker/install.sh
ENTRYPOINT ["python3", "-m", "launch.train"]
