"""Designs: which cells are trained, and which contrasts between them answer the question."""

from .base import Cell as Cell
from .base import Contrast as Contrast
from .base import Design as Design
from .base import Filling as Filling
from .base import Spec as Spec
from .base import as_spec as as_spec
from .base import control_cells as control_cells
from .base import controls_of as controls_of
from .base import describe_swaps as describe_swaps
from .base import is_design as is_design
from .base import takes_target as takes_target
from .base import with_host as with_host
from .config import KEYS as KEYS
from .config import KINDS as KINDS
from .config import from_config as from_config
from .config import key_types as key_types
from .factorial import Factorial as Factorial
from .ladder import Ladder as Ladder
from .ladder import Variant as Variant
from .mixing import Mixing as Mixing
from .one_at_a_time import OneAtATime as OneAtATime
from .placement import Placement as Placement
from .race import Race as Race
