"""The kit: airgap itself on a medium, for a machine with no index, no compiler and no pip.

airgap-kit-0.1.0/
  kit.dsse.json                          DSSE envelope over the statement; written last
  statement.json                         exactly the envelope's payload bytes
  sig/<keyid16>.sig                      the raw bytes of each signature
  SHA256SUMS                             coreutils format, over all the files below
  VERIFY.txt                             how to check it with stock tools, and how to install
  install.sh                             finds a Python and runs install.py
  install.py                             checks every file, then installs; the standard library alone
  requirements/<platform>-py<N.N>.txt    what is installed there: name==version and --hash, for pip
  wheels/*.whl                           airgap, all it needs, and pip

Names are as in the bundle, but for wheels, which keep theirs: mixed case and up to 255 characters. FAT32
takes them.

Wheels, and not one executable: half of the packages are native (cryptography, pydantic-core, ...), which
Python cannot import out of a zipapp, and a frozen executable could be built only on a machine of the
target's own kind, by a further tool, with a Python that no distribution mends. Wheels are what their
authors publish, for every platform, each with its own hash, and run on the server's own Python.
"""
