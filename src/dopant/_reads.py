"""Find out whose weights a network uses without calling their module, as torch itself does in places.

Every torch function called while a network runs is looked at: if one of its arguments is a tensor of a module that is
not being called, nor anything inside it, then somebody outside reads that module's weights. A replacement of the module
would not be asked there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree


class Reads(TorchFunctionMode):
    """Context in which {module: names of its tensors that others used} is noted, in `found`.

    root: the network. calls: the modules that are being called, outermost first; asked at each function.
    """

    def __init__(self, root: nn.Module, calls: Callable[[], Iterable[nn.Module]]):
        super().__init__()
        self.found: dict[nn.Module, dict[str, None]] = {}
        self._calls = calls
        self._around: dict[nn.Module, list[nn.Module]] = {}  # module: itself and all that hold it
        self._within: dict[nn.Module, set[nn.Module]] = {}
        self._names: dict[int, list[tuple[nn.Module, str]]] = {}  # tensor: (module that holds it, its name there)
        self._owners: dict[int, set[nn.Module]] = {}
        self._makers: set[nn.Module] = set()  # of parametrised weights: they run whoever reads the weight
        for module in root.modules():
            self._within[module] = set(module.modules())
            if parametrize.is_parametrized(module):
                self._makers |= set(module.get_submodule("parametrizations").modules())
            own = [*module._parameters.items(), *module._buffers.items()]
            for _, tensor in own:
                if tensor is not None:
                    self._owners.setdefault(id(tensor), set()).add(module)
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                self._names.setdefault(id(tensor), []).append((module, name))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(outputs)):  # not a look at a shape or dtype
            for leaf in pytree.tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor) and id(leaf) in self._names:
                    self._note(leaf)
        return outputs

    def _note(self, tensor: Tensor) -> None:
        calls = set(self._calls())
        others = calls - self._makers
        if others & (self._owners[id(tensor)] - self._makers):  # tied weights: one of their owners is being called
            return
        for module, name in self._names[id(tensor)]:
            if not self._within[module] & (calls if module in self._makers else others):
                self.found.setdefault(module, {})[name.replace("parametrizations.", "")] = None
