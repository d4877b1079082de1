"""What owners use of the service: each folder is a part, which `nucleus.parts` finds.

In a checkout, parts of rolls are in the folders of the rolls.
"""

from pathlib import Path

__path__ += [str(folder) for folder in sorted(Path(__file__).parents[2].glob("roll/*/owners"))]
