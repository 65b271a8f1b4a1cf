# An image that must not run as root: runsd tells the app of its proxy by
# http_proxy, and says so in one log line.
FROM debian:12-slim
COPY app /app
COPY runsd /runsd
USER 65534:65534
ENTRYPOINT ["/runsd", "--", "/app"]
