# Two images, from one file:
#   docker build -t orchard .                        the whole: serves and retrains
#   docker build -t orchard-serve --target serve .   serves only: without torch a fraction of the size; a retrain gets 503
# Either keeps all it learns in one volume, writes nowhere else, and so runs with a read-only root:
#   docker run --read-only --memory 2g --pids-limit 512 -p 127.0.0.1:8000:8000 -e ORCHARD_HOSTS=localhost \
#     -v orchard:/var/lib/orchard orchard


# The libraries of the page at `/`. Node.js, which fetches them, stays in this stage.
FROM python:3.11-slim AS page
WORKDIR /src
COPY package.json package-lock.json ./
COPY scripts/page.py scripts/page.py
COPY app/page/vendor.sha256 app/page/vendor.sha256
RUN --mount=type=cache,target=/root/.cache/pip \
    python scripts/page.py


FROM python:3.11-slim AS source
WORKDIR /src
# The base image's pip installs into the environment from outside, so that the environment holds none. It compiles what
# it installs: a service with a read-only root can keep no bytecode of its own.
RUN python -m venv --without-pip /opt/orchard
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY app app
COPY scripts/wheels.py scripts/wheels.py
COPY --from=page /src/app/page/vendor app/page/vendor


FROM source AS serve-environment
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/orchard install --constraint requirements.lock ".[objects,postgres]"
RUN find /opt/orchard -type d -name tests -prune -exec rm -r {} +


FROM source AS environment
# A package index with CPU builds of torch, for machines where the default one's would bring gigabytes of CUDA along.
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/orchard install --constraint requirements.lock ".[train,arrow,excel,postgres,objects,adbc]"
# Of torch, what compiles and tests C++ goes too; `import torch` looks for bin/torch_shm_manager, which stays.
RUN (cd /opt/orchard/lib/python3.11/site-packages/torch && rm -r include test bin/*[tT]est* bin/protoc*) \
    && find /opt/orchard -type d -name tests -prune -exec rm -r {} +
# The model that an empty volume is filled with. The token is not made here but at the first start, one per volume.
RUN ORCHARD_MODEL_STORE=/first /opt/orchard/bin/orchard train --note "first model"


FROM python:3.11-slim AS runtime
# The base image has no bytecode of the standard library; what no service imports needs none.
RUN python -m compileall -q -j 0 \
        -x '/(site-packages|test|tests|idlelib|lib2to3|tkinter|turtledemo|ensurepip|config-[^/]+)/' /usr/local/lib/python3.11 \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin orchard \
    && install -d -o 10001 -g 10001 /var/lib/orchard
# Several workers share their counts through temporary files: /dev/shm is memory, and there with a read-only root too.
ENV PATH=/opt/orchard/bin:$PATH \
    TMPDIR=/dev/shm \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORCHARD_MODEL_STORE=/var/lib/orchard \
    ORCHARD_HOST=0.0.0.0 \
    ORCHARD_PORT=8000
EXPOSE 8000
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
# http.client: unlike urllib it does not ask a proxy that the environment may name for the way to this very container.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', os.environ['ORCHARD_PORT'], timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
# No shell in between: the server is process 1 and gets SIGTERM itself.
ENTRYPOINT ["orchard"]
CMD ["serve"]
LABEL org.opencontainers.image.title="Orchard" \
      org.opencontainers.image.description="Crop yields from region weather, with how far to trust each number." \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.licenses="MIT"


# VOLUME comes last in each: some builders drop what is put into a folder after it was declared one.
FROM runtime AS serve
COPY --from=serve-environment /opt/orchard /opt/orchard
COPY --from=environment --chown=10001:10001 /first /var/lib/orchard
VOLUME /var/lib/orchard


FROM runtime AS whole
COPY --from=environment /opt/orchard /opt/orchard
COPY --from=environment --chown=10001:10001 /first /var/lib/orchard
VOLUME /var/lib/orchard
