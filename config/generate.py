"""Write the reference (`*.md`) and `schema.json` from the settings classes (`make config-reference`)."""

import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parent
sys.path.insert(0, str(CONFIG.parent / "scripts"))

from workflow.reference.keys import reference, schema  # noqa: E402

if __name__ == "__main__":
    for name, text in reference().items():
        (CONFIG / name).write_text(text)
    (CONFIG / "schema.json").write_text(schema())
