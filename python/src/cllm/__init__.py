"""Small transformer language models: train, save, load and generate on the CPU.

>>> import cllm
>>> model = cllm.train("texts", minutes=5)          # doctest: +SKIP
>>> print(model.generate("once upon a", seed=1))    # doctest: +SKIP

The library's warnings go to the logger "cllm"; its errors are :class:`Error`.
"""

from ._generator import Generator, Score
from ._library import Error, version
from ._model import Model
from ._tokenizer import Tokenizer
from ._train import train
from ._trainer import Step, Trainer

__all__ = ["Error", "Generator", "Model", "Score", "Step", "Tokenizer", "Trainer", "train", "version"]
__version__ = version()
