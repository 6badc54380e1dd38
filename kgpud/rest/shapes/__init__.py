"""What crosses the wire: a module per resource, over the bases in `base`.

Docstrings of models and of their fields are what the API's description tells of them.
"""
