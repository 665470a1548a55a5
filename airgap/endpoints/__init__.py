"""The sources and targets of images: registries, engines, folders and archives; and hosts over SSH.

`ports` has their base classes. An endpoint imports no other endpoint, only the modules that all of them
share.
"""
