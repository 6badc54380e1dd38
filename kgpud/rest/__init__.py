"""The HTTP face of the platform: product.md's `/v1`, thin over the services.

`routes` is the one table of what exists and who may call it; `requests` and `answers` are the
shapes that cross the wire; `problems` alone knows which status an error has.
"""
