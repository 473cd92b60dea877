"""Write what `collect_prompts` reads of a policy: its tokenizer and its configuration. Argument: the folder."""

import json
import sys
from pathlib import Path

from small_tokenizers import save_policy_folder

if __name__ == "__main__":
    folder = save_policy_folder(Path(sys.argv[1]))
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**configuration, "vocab_size": 1000}))
