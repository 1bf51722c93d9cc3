"""What an error of a model library says in one line."""


def first_line(error: Exception) -> str:
    """The first line of a library's error, which can be pages long; the headline of a validation error is skipped."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        lines = lines[1:]
    return (lines[0] if lines else type(error).__name__)[:300]
