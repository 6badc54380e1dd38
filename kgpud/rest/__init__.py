"""The HTTP face of the platform: product.md's `/v1`, thin over the services.

`routes` is the one table of what exists, who may call it and what can fail. An operation is a
function in `handlers`; its types, from `shapes`, are its body, query and answer. `serving` takes
one request through its route; `problems` alone knows which status an error has.
"""
