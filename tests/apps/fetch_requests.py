"""An app that knows nothing of runsd: prints the status of each URL."""

import sys

import requests

with requests.Session() as session:
    for url in sys.argv[1:]:
        print(session.get(url, timeout=30).status_code)
