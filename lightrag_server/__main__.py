from __future__ import annotations

import sys

from lightrag_server.cli import main

if __name__ == "__main__":
    sys.exit(main())
