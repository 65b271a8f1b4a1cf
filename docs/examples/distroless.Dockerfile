# runsd starts as root, so that names resolve without proxy variables, and the
# app runs as nobody. Use the image's root variant: `nonroot` means proxy mode.
FROM gcr.io/distroless/static-debian12
COPY runsd /runsd
COPY app /app
ENTRYPOINT ["/runsd", "--user", "65532:65532", "--", "/app"]
