"""An app that knows nothing of runsd: prints the status of each URL."""

import sys
import urllib.request

for url in sys.argv[1:]:
    with urllib.request.urlopen(url, timeout=30) as response:
        print(response.status)
