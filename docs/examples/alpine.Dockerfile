# CMD stays what it was in the image without runsd, and can be overridden.
FROM alpine:3.22
COPY --chmod=755 runsd /usr/local/bin/runsd
COPY --chmod=755 app /usr/local/bin/app
ENTRYPOINT ["runsd", "--"]
CMD ["app"]
