"""Sources of data, and the splits that a replicate draws from them.

A source holds pools of items (memory-mapped where they come from files); a split is a list of item numbers into a
pool. Nothing is copied until a batch is gathered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from .. import registry
from ..errors import ConfigError, DopantError
from ..streams import Streams

VALIDATION = 0.1  # of the training images, where the test set is official
FRESH = (0.6, 0.2, 0.2)  # train, validation, test, where there is none
_SHUFFLE = 20240917  # the fixed shuffle before `limit`: the same items for every seed


@dataclass(frozen=True)
class Pool:
    """All items of one file or part: pytrees of tensors with the item as first axis."""

    inputs: Any
    targets: Any

    def __len__(self) -> int:
        return len(pytree.tree_leaves(self.inputs)[0])


class Split:
    """Items of a pool by number.

    inputs, targets: the pool's pytrees with only these items, gathered at first use and kept. ids: (items,) numbers in
    the pool. For training use `batch`, which gathers only what it is asked for.
    """

    def __init__(self, pool: Pool, ids: torch.Tensor):
        self.pool, self.ids = pool, ids

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, indices: torch.Tensor) -> tuple[Any, Any]:
        """(inputs, targets) of the items at `indices` (positions in this split)."""
        ids = self.ids[indices]
        return _take(self.pool.inputs, ids), _take(self.pool.targets, ids)

    @cached_property
    def inputs(self) -> Any:
        return _take(self.pool.inputs, self.ids)

    @cached_property
    def targets(self) -> Any:
        return _take(self.pool.targets, self.ids)


def _take(tree: Any, ids: torch.Tensor) -> Any:
    return pytree.tree_map(lambda tensor: tensor.index_select(0, ids), tree)


@dataclass(frozen=True)
class Dataset:
    """The splits of one replicate. classes: None where the targets are not class numbers. fresh: whether every
    replicate has items of its own, drawn from a rule, instead of a split of one pool."""

    train: Split
    validation: Split
    test: Split
    classes: int | None
    name: str
    official_test: bool
    fresh: bool = False

    def sample(self, n: int = 2) -> Any:
        """The inputs of the first `n` training items, for measuring slots."""
        return self.train.batch(torch.arange(min(n, len(self.train))))[0]

    def split_facts(self) -> dict[str, bool]:
        """What the statistics want to know: `resplit`, whether every replicate splits one pool anew; `fresh_items`,
        only where every replicate has items of its own."""
        return {"resplit": not self.official_test} | ({"fresh_items": True} if self.fresh else {})

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of all items of the pools: other data, other digits. Cost: a pass
        over them, a second or two for CIFAR-10."""
        digest = hashlib.sha256()
        pools = {id(split.pool): split.pool for split in (self.train, self.validation, self.test)}
        for pool in pools.values():
            for leaf in pytree.tree_leaves((pool.inputs, pool.targets)):
                digest.update(f"{tuple(leaf.shape)}{leaf.dtype}".encode())
                digest.update(leaf.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        """What hosts want to know: `in_channels` and `size` of images (batch, channel, size, size), `in_features` of
        vectors, `classes`; each only where it applies."""
        found: dict[str, Any] = {}
        inputs = self.train.pool.inputs
        if isinstance(inputs, torch.Tensor):
            if inputs.ndim == 4:
                found["in_channels"] = inputs.shape[1]
                if inputs.shape[2] == inputs.shape[3]:
                    found["size"] = inputs.shape[3]
            elif inputs.ndim == 2:
                found["in_features"] = inputs.shape[1]
        if self.classes is not None:
            found["classes"] = self.classes
        return found


@dataclass(frozen=True)
class Source:
    """What a registered loader returns.

    train: all items that may be trained on. test, validation: the official ones, or None. classes: how many, or None.
    chosen: the numbers of the items of `train` that are used (`limit`), tested: of `test` (`test_limit`); None is all.
    """

    train: Pool
    test: Pool | None = None
    classes: int | None = None
    name: str = "data"
    validation: Pool | None = None
    chosen: torch.Tensor | None = None
    tested: torch.Tensor | None = None

    @property
    def arrays(self) -> list[Any]:
        """Every tensor, for fingerprints."""
        pools = [pool for pool in (self.train, self.validation, self.test) if pool is not None]
        return [(pool.inputs, pool.targets) for pool in pools] + [self.chosen, self.tested]

    def limited(self, limit: int) -> Source:
        """Only the first `limit` training items after a fixed shuffle, the same for every seed and replicate.

        Raises ConfigError if `limit` is not a whole number from 1 to the number of items.
        """
        return replace(self, chosen=self._first("limit", limit, len(self.train)))

    def test_limited(self, limit: int) -> Source:
        """Only the first `limit` items of the official test set after a fixed shuffle: for smoke runs.

        Raises ConfigError without an official test set, or if `limit` is no whole number from 1 to its size.
        """
        if self.test is None:
            raise ConfigError(f"data set {self.name!r} has no official test set, so test_limit has nothing to limit")
        return replace(self, tested=self._first("test_limit", limit, len(self.test)))

    def _first(self, option: str, limit: Any, have: int) -> torch.Tensor:
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= have:
            raise ConfigError(
                f"data set {self.name!r}: {option} is {limit!r}; expected a whole number from 1 to "
                f"{have}, the items it has"
            )
        return torch.from_numpy(np.random.default_rng(_SHUFFLE).permutation(have)[:limit])

    def draw(self, streams: Streams, protocol: str | None = None, folds: int | None = None) -> Dataset:
        """The splits of the replicate that `streams` stands for, from its stream `split`.

        With an official test set that is kept, and a tenth of the training items, stratified by class, validates
        (unless there is an official validation set). Without one, a fresh stratified 60/20/20 split.
        protocol "published": all training items train, nothing validates, the official test set is watched.
        folds: every `folds` replicates test one fold each of one stratified partition, so that every item is tested
        once; a tenth of the rest validates.
        Raises ConfigError for an unknown protocol, for "published" without an official test set, for folds with one,
        and for classes too small to split.
        """
        if protocol not in (None, "published"):
            raise ConfigError(f"protocol is {protocol!r}; expected 'published' or nothing")
        ids = torch.arange(len(self.train)) if self.chosen is None else self.chosen
        none = ids[:0]
        if protocol == "published":
            if self.test is None:
                raise ConfigError(
                    f"data set {self.name!r} has no official test set, so there is no published protocol; leave it out"
                )
            parts = Split(self.train, ids), Split(self.train, none), self._tests(self.test)
        elif folds is not None:
            rest, test = self._fold(ids, folds, streams)
            train, validation = self._divide(rest, VALIDATION, streams, 0)
            parts = Split(self.train, train), Split(self.train, validation), Split(self.train, test)
        elif self.test is None:
            train, rest = self._divide(ids, FRESH[1] + FRESH[2], streams, 0)
            validation, test = self._divide(rest, FRESH[2] / (FRESH[1] + FRESH[2]), streams, 1)
            parts = Split(self.train, train), Split(self.train, validation), Split(self.train, test)
        elif self.validation is not None:
            parts = Split(self.train, ids), _whole(self.validation), self._tests(self.test)
        else:
            train, validation = self._divide(ids, VALIDATION, streams, 0)
            parts = Split(self.train, train), Split(self.train, validation), self._tests(self.test)
        return Dataset(*parts, classes=self.classes, name=self.name, official_test=self.test is not None)

    def _fold(self, ids: torch.Tensor, folds: int, streams: Streams) -> tuple[torch.Tensor, torch.Tensor]:
        """(rest, fold) of `ids`, in ascending order: all replicates of a repetition share the partition."""
        from sklearn.model_selection import KFold, StratifiedKFold

        if self.test is not None:
            raise ConfigError(
                f"data set {self.name!r} has an official test set, so there is nothing to fold; leave study.folds out"
            )
        repetition, place = divmod(streams.replicate, folds)
        seed = int(Streams(streams.seed, repetition * folds).numpy("folds").integers(2**31))
        labels = self.train.targets[ids].numpy() if self.classes is not None else None
        least = len(ids) if labels is None else int(np.unique(labels, return_counts=True)[1].min())
        if least < folds:
            raise ConfigError(
                f"data set {self.name!r}: {folds} folds need as many items"
                f"{'' if labels is None else ' of each class'}, and there are {least}; take fewer folds"
            )
        kind = KFold if labels is None else StratifiedKFold
        parts = list(kind(folds, shuffle=True, random_state=seed).split(ids.numpy(), labels))
        rest, fold = parts[place]
        return ids[torch.from_numpy(rest)].sort().values, ids[torch.from_numpy(fold)].sort().values

    def _tests(self, test: Pool) -> Split:
        return _whole(test) if self.tested is None else Split(test, self.tested)

    def _divide(
        self, ids: torch.Tensor, fraction: float, streams: Streams, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(rest, part) of `ids`, the part holding `fraction` of each class; both in ascending order."""
        from sklearn.model_selection import train_test_split

        labels = self.train.targets[ids].numpy() if self.classes is not None else None
        seed = int(streams.numpy("split", step).integers(2**31))
        try:
            rest, part = train_test_split(ids.numpy(), test_size=fraction, stratify=labels, random_state=seed)
        except ValueError as error:
            raise ConfigError(
                f"data set {self.name!r}: {len(ids)} items cannot be split by class ({error}); give more items "
                "(a larger `limit`)"
            ) from error
        return torch.from_numpy(np.sort(rest)), torch.from_numpy(np.sort(part))


def _whole(pool: Pool) -> Split:
    return Split(pool, torch.arange(len(pool)))


def load_source(name: str, **options: Any) -> Source:
    """The source registered as `name`. Every source takes `limit` beside its own options, and one with an
    official test set `test_limit`.

    Raises UnknownName, ConfigError (all wrong options), DataMissing, or DopantError for damaged files.
    """
    loader = registry.datasets.get(name)
    limit, test_limit = options.pop("limit", None), options.pop("test_limit", None)
    problems = registry.check_options("data set", name, loader, options, 0)
    if problems:
        raise ConfigError(problems)
    source = replace(as_source(loader(**options)), name=name)
    source = source if limit is None else source.limited(limit)
    return source if test_limit is None else source.test_limited(test_limit)


def dataset(name: str, seed: int = 0, replicate: int = 0, *, protocol: str | None = None, **options: Any) -> Dataset:
    """The data set `name` as replicate `replicate` of a study with this seed sees it; see Source.draw."""
    return load_source(name, **options).draw(Streams(seed, replicate), protocol)


def as_source(data: Any) -> Source:
    """A source from a Source, a Dataset (its splits are kept), (inputs, targets), or ((inputs, targets), (inputs,
    targets)) with the second pair as test set; arrays and tensors, or pytrees of them, the item first.

    NumPy floats become torch's default dtype, whole numbers int64. Whole-number targets of one axis are classes.
    Raises ConfigError where the parts do not fit together.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, Dataset):
        pools = [Pool(s.inputs, s.targets) if len(s) else None for s in (data.train, data.validation, data.test)]
        if pools[0] is None:
            raise ConfigError("the data set's training split is empty")
        return Source(pools[0], pools[2], data.classes, data.name, pools[1])
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ConfigError(
            f"data is a {type(data).__name__}; expected a name, a Dataset, (inputs, targets) or "
            "((inputs, targets), (test inputs, test targets))"
        )
    first, second = data
    nested = all(isinstance(part, (tuple, list)) and len(part) == 2 for part in (first, second))
    pairs = [first, second] if nested else [(first, second)]
    pools = [_pool(x, y) for x, y in pairs]
    return Source(pools[0], pools[1] if nested else None, count_classes(*pools))


def _pool(inputs: Any, targets: Any) -> Pool:
    pool = Pool(pytree.tree_map(_tensor, inputs), pytree.tree_map(_tensor, targets))
    lengths = {len(leaf) for leaf in pytree.tree_leaves((pool.inputs, pool.targets))}
    if len(lengths) != 1:
        raise ConfigError(f"inputs and targets have {sorted(lengths)} items; expected as many of each")
    return pool


def _tensor(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values
    tensor = torch.as_tensor(np.ascontiguousarray(values))
    return tensor.to(torch.get_default_dtype() if tensor.is_floating_point() else torch.int64)


def count_classes(*pools: Pool | None) -> int | None:
    """One more than the largest class number in the pools; None where targets are not vectors of whole numbers."""
    labels = [pool.targets for pool in pools if pool is not None]
    if not all(isinstance(t, torch.Tensor) and t.ndim == 1 and t.dtype == torch.int64 for t in labels):
        return None
    if any(len(t) and int(t.min()) < 0 for t in labels):
        raise DopantError("class numbers must not be negative")
    return max(int(t.max()) for t in labels if len(t)) + 1


def pools_of(arrays: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """{"train": Pool, …} from arrays named train_inputs, train_targets, …"""
    parts = dict.fromkeys(name.rsplit("_", 1)[0] for name in arrays)
    return {part: Pool(arrays[f"{part}_inputs"], arrays[f"{part}_targets"]) for part in parts}
