class APIError(Exception):
    code: str | None
