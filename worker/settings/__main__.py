"""`python -m worker.settings > docs/settings.md`"""

import sys

from worker.settings.page import page

sys.stdout.write(page())
