from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

def supabase_retry() -> Callable[[Callable[[object], T]], Callable[[object], T]]: ...
