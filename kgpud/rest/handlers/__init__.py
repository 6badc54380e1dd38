"""What answers the routes: a module per resource, a function per operation.

A function's name is its operationId, its docstring what the description tells of it, and its
types are the body, query and answer: `kgpud.rest.route` reads them.
"""
