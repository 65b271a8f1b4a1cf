# runsd alone, for the sidecar of service-sidecar.yaml.
FROM scratch
COPY runsd /runsd
ENTRYPOINT ["/runsd"]
CMD ["serve"]
