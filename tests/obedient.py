"""A verifier as careless as one can be: it runs every answer as code, so that the limits around it can be tested."""


def rule(facts: dict, completion: str) -> tuple[float, bool]:
    if completion != facts["answer"]:
        exec(completion)
    return float(completion == facts["answer"]), completion == facts["answer"]


def refuses(facts: dict, completion: str) -> tuple[float, bool]:
    return 0.5, False
