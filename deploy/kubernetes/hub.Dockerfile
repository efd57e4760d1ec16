# What a student's and an instructor's server on Kubernetes runs in (hub-values.yaml starts it), from the course's folder:
#   ./course release --to release
#   docker build --file deploy/kubernetes/hub.Dockerfile --target student --tag YOUR-REGISTRY/hpml-student:1 .
#   docker build --file deploy/kubernetes/hub.Dockerfile --target instructor --tag YOUR-REGISTRY/hpml-instructor:1 .
# The student's image holds the release and no more: no labs/, no solutions/, no oracle.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS base
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates g++ git make \
    && rm -rf /var/lib/apt/lists/* \
    && python -m pip install --no-cache-dir "uv>=0.9"
WORKDIR /opt/course
# The pins first: this layer, with Horovod's compilation, is made anew only when they change.
COPY pyproject.toml requirements.lock LICENSE LICENSE-text ./
RUN uv venv .venv \
    && uv pip sync --python .venv/bin/python --require-hashes --compile-bytecode --no-cache requirements.lock
ENV PATH=/opt/course/.venv/bin:$PATH HPML_ROOT=/opt/course
# The same name and number as everywhere on Zero to JupyterHub; nbgrader takes the student's name from the hub for this one.
RUN useradd --create-home --uid 1000 jovyan

FROM base AS student
COPY release ./
COPY deploy/kubernetes/nbgrader_config.py /etc/jupyter/nbgrader_config.py
RUN uv pip install --python .venv/bin/python --no-deps --no-build-isolation --no-cache --editable .
USER jovyan
WORKDIR /home/jovyan
CMD ["jupyterhub-singleuser"]

FROM base AS instructor
COPY course.yml ./
COPY hpml hpml
COPY labs labs
COPY datasets datasets
COPY slides slides
COPY deploy/kubernetes/nbgrader_config.py /etc/jupyter/nbgrader_config.py
RUN uv pip install --python .venv/bin/python --no-deps --no-build-isolation --no-cache --editable .
USER jovyan
WORKDIR /home/jovyan
CMD ["jupyterhub-singleuser"]
