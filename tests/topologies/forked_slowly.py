"""A module that takes a minute to import, and says when it begins."""

import os
import time
from pathlib import Path

Path(os.environ["FORKED"]).touch()
time.sleep(60)
