"""Data: sources, the splits that a replicate draws from them, and one file per data set."""

from .source import Dataset as Dataset
from .source import Source as Source
from .source import Split as Split
from .source import dataset as dataset
