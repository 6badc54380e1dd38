"""`kgpud doctor`: looks at an installation from outside, as its users and its daemon meet it.

`rounds` is the table of checks and runs it; each check is a function of a `Patient` that returns
`Finding`s and is bounded in time. Nothing here changes the installation but canaries, which are
pods as rentals have them, and which `undertaker` removes even where the doctor was killed.
"""
