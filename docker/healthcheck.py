#!/usr/bin/env python3
"""Exit code 0 when the server of this container answers, for HEALTHCHECK. Needs nothing but the standard library, so
that asking costs little."""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 4


def connection() -> http.client.HTTPConnection:
    port = int(os.environ.get("PORT", "9621"))
    if os.environ.get("SSL", "").lower() in ("1", "true", "yes", "on"):
        # the certificate names the public host, not the loopback address that is asked here
        context = ssl._create_unverified_context()
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)
    return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)


def main() -> int:
    try:
        asked = connection()
        asked.request("GET", "/health/live")
        status = asked.getresponse().status
    except OSError as error:
        print(f"no answer: {error}")
        return 1
    print(f"answered {status}")
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
