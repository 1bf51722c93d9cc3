import numpy as np
from numpy.typing import NDArray

def value(chunk: bytes | NDArray[np.generic]) -> int: ...
