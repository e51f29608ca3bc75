"""Networks that work before anything is swapped: one file each, and `host` builds them by name."""

from .build import host as host
