"""When an answer is right: pure functions of (facts, completion) that give (score in [0, 1], solved).

They run in a child process (envs/rlvr/worker.py) and take time linear in the completion; torch stays out of here.
"""


def exact(facts: dict, completion: str) -> tuple[float, bool]:
    """The answer, character by character."""
    right = completion == facts["answer"]
    return float(right), right
