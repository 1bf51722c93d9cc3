from . import optim as optim
