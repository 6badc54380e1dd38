"""Transit objects: big data on its way to pods, kept for a day, without the bastion in its way.

`service` is what users ask, `uploads` says where bytes go; `stores` is the seam to where they lie,
`folder` and `s3` are behind it. A client moves bytes by signed URLs, so what is in a store is found
out, never told: `looking` measures it, `sweep` compares all of it with the rows. Whatever has no
live row is deleted, which also covers uploads by URLs that should have been dead.
"""
