"""The paper's numbers as data, and the author's released code as an oracle."""

import numpy as np

Check = tuple[str, np.ndarray, np.ndarray, float]  # name, ours, theirs, absolute tolerance
