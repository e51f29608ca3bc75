"""An example of a package that brings a component of its own: importing it registers what its modules decorate."""

from . import layers as layers
