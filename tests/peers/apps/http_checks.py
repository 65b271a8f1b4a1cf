"""What the two Python HTTP libraries must both be able to do; their differences
are in the four functions that a client hands in."""

import hashlib
import itertools
import os

SIZE = 10 << 20
PIECE = 64 << 10


def passed(check):
    print(check, flush=True)


def counted(size):
    """What `download?counted` sends."""
    numbers = itertools.cycle(range(251))
    return b"".join(bytes([next(numbers)]) * PIECE for _ in range(size // PIECE))


def chunks(body):
    for at in range(0, len(body), 100_000):
        yield body[at:at + 100_000]


def run(client, follow):
    """`client` has requests' methods; `follow` is its argument to follow redirects."""
    for number in range(20):
        assert client.get(f"http://hello/{number}").text == "hello from hello (us-central1)\n"
    passed("keep-alive")
    body = os.urandom(SIZE)
    for content in (body, chunks(body)):
        answer = client.post("http://upload/", **client.body(content)).json()
        assert answer["bytes"] == SIZE and answer["sha256"] == hashlib.sha256(body).hexdigest()
    passed("uploads")
    for form in ("", "&chunked"):
        answer = client.get(f"http://download/?counted&bytes={SIZE}{form}")
        assert answer.content == counted(SIZE)
    passed("downloads")
    answer = client.get("http://redirect/", **follow)
    assert (answer.text, str(answer.url)) == ("landed\n", "http://redirect/landed"), answer.url
    passed("redirect")
    for url in ("http://status/?field=set-cookie:a%3D1&field=set-cookie:b%3D2%3B%20Path%3D/",
                "http://status/with-cookies"):
        assert client.get(url).status_code == 200
    passed("cookies")
    answer = client.head(f"http://download/?bytes={SIZE}")
    assert (answer.headers["content-length"], answer.content) == (str(SIZE), b"")
    for code in (204, 304, 299, 418, 599, 999):
        assert client.get(f"http://status/?code={code}").status_code == code
    passed("statuses")
