# syntax=docker/dockerfile:1
# The worker's image: the hashed lock and nothing else, run by a user who owns nothing but his data folder.

FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements.lock ./
# Only wheels, only with the hashes of the lock: the same files that were tested.
RUN python -m venv /opt/worker \
    && /opt/worker/bin/pip install --no-cache-dir --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement requirements.lock

FROM python:3.12-slim
RUN groupadd --system --gid 10001 worker \
    && useradd --system --uid 10001 --gid worker --home-dir /var/lib/worker --shell /usr/sbin/nologin worker \
    && install --directory --owner worker --group worker --mode 0750 /var/lib/worker
COPY --from=build /opt/worker /opt/worker
COPY LICENSE /app/
COPY contracts /app/contracts
COPY worker /app/worker
ENV PATH=/opt/worker/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Without other settings the journal (SQLite) and worker.key are made here: mount a volume, or lose them.
WORKDIR /var/lib/worker
VOLUME /var/lib/worker
# As a number: Kubernetes cannot see otherwise that it is not root.
USER 10001:10001
EXPOSE 8080
# Alive, not ready: a worker whose broker is away is well, and restarting it would not help.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
# Exec form: SIGTERM reaches the worker itself, which then finishes the calls under way (worker.grace).
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "worker"]
CMD ["run"]
