"""Apps that are told of runsd by `http_proxy` alone: a service by its name, a
host elsewhere in the clear, and one over TLS through a blind relay."""

import os
import ssl
import sys

PROXY = os.environ["http_proxy"]
ROOTS = "/etc/ssl/certs/ca-certificates.crt"
# runsd sets no proxy for https, because apps reach such hosts by themselves; an
# app that wants one names it.
URLS = ["http://hello/", "http://hello.us-east1.run.internal/", "http://example.com/",
        "https://example.com/"]


def by_requests():
    import requests
    for url in URLS:
        response = requests.get(url, proxies={"https": PROXY}, verify=ROOTS, timeout=30)
        print(response.status_code, response.text.strip())


def by_httpx():
    import httpx
    context = ssl.create_default_context(cafile=ROOTS)
    with httpx.Client(proxy=PROXY, verify=context, timeout=30) as client:
        for url in URLS:
            response = client.get(url)
            print(response.status_code, response.text.strip())


def by_grpc():
    """grpcio sends CONNECT for a service that it then calls over HTTP/2."""
    import grpc
    with grpc.insecure_channel("grpc:80") as channel:
        for _ in range(10):
            assert channel.unary_unary("/sim.Echo/Unary")(b"x", timeout=30) == b"x"
    print("answered")


def by_pubsub(host):
    """As a client of Pub/Sub: a stream that lasts, over TLS, to a host of the
    platform's, with a token that the app gets for itself."""
    import urllib.request
    import grpc
    asked = urllib.request.Request(
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/"
        f"identity?audience=https://{host}", headers={"Metadata-Flavor": "Google"})
    token = urllib.request.urlopen(asked, timeout=30).read().decode()
    with open(ROOTS, "rb") as roots:
        credentials = grpc.ssl_channel_credentials(roots.read())
    limit = [("grpc.max_receive_message_length", 1 << 24)]
    with grpc.secure_channel(f"{host}:443", credentials, limit) as channel:
        sent = iter([bytes([n]) * (1 << (n % 21)) for n in range(200)])
        heard = channel.stream_stream("/sim.Echo/Bidi")(
            sent, metadata=[("authorization", f"Bearer {token}")], timeout=60)
        for n, message in enumerate(heard):
            assert message == bytes([n]) * (1 << (n % 21)), n
    print("answered", n + 1)


{"requests": by_requests, "httpx": by_httpx, "grpc": by_grpc,
 "pubsub": by_pubsub}[sys.argv[1]](*sys.argv[2:])
