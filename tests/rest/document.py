"""`python -m tests.rest.document`: print the API's description, for the linters."""

import json
import sys

from kgpud.rest import openapi
from kgpud.rest.routes import ROUTES

#: As an installation would serve it.
DOCUMENT = openapi.describe(ROUTES, api_base="https://api.kgpu.net/v1", version="0.1.0")

if __name__ == "__main__":
    json.dump(DOCUMENT, sys.stdout, indent=1)
