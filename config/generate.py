"""Write `config/README.md` and `config/schema.json` from the settings classes (`make config-reference`)."""

import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parent
sys.path.insert(0, str(CONFIG.parent / "scripts"))

from rlhf.config_reference import reference, schema  # noqa: E402

if __name__ == "__main__":
    (CONFIG / "README.md").write_text(reference())
    (CONFIG / "schema.json").write_text(schema())
