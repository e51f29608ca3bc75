"""For loops of one's own, `dp.run(design, train=my_train)`: pairing, and what Lightning and accelerate ask for.

`dopant.adapters.lightning` and `dopant.adapters.accelerate` import those packages (extras of the same names); this
package does not. docs/own-loop.md has a working example of each.
"""

from .pairing import OrderSampler, Pairing

__all__ = ["OrderSampler", "Pairing"]
