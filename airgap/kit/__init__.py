"""The kit: airgap itself on a medium, for a machine with no index, no compiler and no pip.

airgap-kit-0.1.0/
  kit.dsse.json                          DSSE envelope over the statement; written last
  statement.json                         exactly the envelope's payload bytes
  sig/<keyid16>.sig                      the raw bytes of each signature
  SHA256SUMS                             coreutils format, over all the files below
  VERIFY.txt                             how to check it with stock tools, and how to install
  install.sh                             finds a Python and runs install.py
  install.py                             checks every file, then installs; the standard library alone
  requirements/<platform>-py<N.N>.txt    the packages to install: name==version and --hash, for pip
  wheels/*.whl                           airgap, its dependencies, and pip

Names are as in the bundle, except for wheels, whose names have mixed case and up to 255 characters; FAT32
supports them.

Why wheels and not one executable: half of the packages are native (cryptography, pydantic-core, ...), so
Python cannot import them from a zipapp. A frozen executable must be built on a machine like the target, with
another tool, and its Python gets no updates from a distribution. Wheels are published by their authors for
every platform, each with its own hash, and run on the server's own Python.
"""
