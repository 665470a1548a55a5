"""`python -m airgap`."""

import sys

from airgap.cli.main import main

sys.exit(main())
