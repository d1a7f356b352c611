# The studio in a container. On a CPU:  docker build -t mal-studio .
# On an NVIDIA GPU:                    docker build -t mal-studio:cuda --build-arg TORCH_INDEX=cu130 .
FROM python:3.11-slim-bookworm AS build
# Which builds of torch: "cpu" or one of CUDA as in https://download.pytorch.org/whl/
ARG TORCH_INDEX=cpu
COPY requirements.txt requirements-extra.txt /build/
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir \
        --extra-index-url "https://download.pytorch.org/whl/${TORCH_INDEX}" \
        -r /build/requirements.txt \
    && grep -E '^(psycopg|s3fs|onnx|onnxruntime|onnxscript)' /build/requirements-extra.txt > /build/extra.txt \
    && /venv/bin/pip install --no-cache-dir -r /build/extra.txt

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin mal \
    && install -d -o mal -g mal /data
COPY --from=build /venv /venv
WORKDIR /studio
COPY app.py ./
COPY weights weights
COPY mal_core mal_core
COPY app app
USER 10001
ENV MAL_DATA_DIR=/data MAL_HOST=0.0.0.0 MAL_PORT=7860 MAL_LOG_FORMAT=json \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
# The first start loads a network and fills an empty folder.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["/venv/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["/venv/bin/python", "app.py"]
