"""What a library says when it cannot load weights, in one line."""


def load_reason(error: Exception) -> str:
    """First sentence of the error: torch's next ones advise loading without weights_only, and lists of tensors fill pages."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
    return "tensors of other names or shapes" if "state_dict" in first else first
