"""`python -m kgpud.localcluster --state DIR`."""

import sys

from kgpud.localcluster.command import main

sys.exit(main())
