# The app and runsd are both built here; the image holds these two files alone.
FROM golang:1.25 AS app
WORKDIR /src
COPY go.mod main.go ./
RUN CGO_ENABLED=0 go build -o /out/app .

FROM rust:1.88 AS runsd
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo install --locked --git https://github.com/runsd/runsd \
    --target x86_64-unknown-linux-gnu --root /out runsd

FROM scratch
COPY --from=app /out/app /app
COPY --from=runsd /out/bin/runsd /runsd
ENTRYPOINT ["/runsd", "--", "/app"]
