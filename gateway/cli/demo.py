"""placeholder until the load generator exists"""


def demo() -> None:
    """Soon."""
