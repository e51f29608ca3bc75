"""The engine for many machines: workers on the nodes of a Ray cluster, one local to this machine if none is named.

Ray starts one relay an worker (relay.py) and carries lines; plan, leases and results stay in this process, the only one
that touches the index. Nodes must see the study's folder at the same path and have the same versions of what decides
numbers; both are looked at before anything starts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DopantError, StoreError
from . import nodes, owners, provenance
from .engine import GRACE_SECONDS, Crew, carry_out
from .relay import WAIT_SECONDS, Relay
from .remote import Desk
from .store import Store
from .worker import INTERRUPTED

LOST = 137  # the status of a worker whose relay or node is gone
LOOK_SECONDS = 60.0  # for a node to say what it has
OBJECT_STORE = 80 * 2**20  # bytes for a Ray of ours: nothing large goes through it


def problems(address: str | None, device: str) -> list[str]:
    """What a request for this engine lacks, before anything is started."""
    found = []
    if importlib.util.find_spec("ray") is None:
        found.append("engine: 'ray' needs the package ray; install it with: pip install 'dopant[ray]'")
    if address is not None and not address.strip():
        found.append("address: it is empty; give 'auto', 'ray://HOST:PORT' or 'HOST:PORT', or leave it out")
    if device.startswith("cuda:"):
        found.append(f"recipe.device: {device!r} names one GPU of one machine; with engine='ray' write 'cuda'")
    return found


@contextlib.contextmanager
def connected(address: str | None, workers: int | None, store: Store, device: str = "cpu") -> Iterator[Cluster]:
    """A cluster for the trials of `store`: the one at `address`, or a Ray started on this machine while this lasts.

    A Ray that this process is connected to already is used, and left running. Raises DopantError where there is none
    at the address, or no node of it could ever run a trial of so many threads.
    """
    import ray

    from ..tasks.build import device_of

    threads = max((int(trial.description.get("threads") or 1) for trial in store.trials()), default=1)
    gpu = device_of(device).type == "cuda"
    handler = signal.getsignal(signal.SIGTERM)
    ours = not ray.is_initialized()
    try:
        if ours:
            _begin(ray, address, workers, threads)
        yield Cluster(ray, workers, threads, gpu)
    finally:
        if ours:
            ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in the place


def _begin(ray: Any, address: str | None, workers: int | None, threads: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray of ours tells nobody
        cores = max(os.cpu_count() or 1, (workers or 1) * threads)
        ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=OBJECT_STORE, **quiet)
        return
    try:
        ray.init(address, **quiet)
    except Exception as error:  # each way of connecting has errors of its own
        raise DopantError(
            f"no Ray cluster answers at {address!r} ({' '.join(str(error).split())[:200]}); start one with "
            "`ray start --head`, or leave --address out to use this machine"
        ) from error


class Cluster:
    """Machines for one study. size: how many workers; nodes: {name: what Ray says of it}, those that can do a trial."""

    def __init__(self, ray: Any, workers: int | None, threads: int, gpu: bool):
        self.ray, self.threads, self.gpu = ray, threads, gpu
        self.nodes: dict[str, dict[str, Any]] = {}
        room = 0
        for node in ray.nodes():
            has = node["Resources"]
            trials = int(has.get("CPU", 0) // threads)
            trials = min(trials, int(has.get("GPU", 0))) if gpu else trials
            if node["Alive"] and trials:
                name = node["NodeManagerHostname"]
                self.nodes[name if name not in self.nodes else f"{name} {node['NodeID'][:8]}"] = node
                room += trials
        if not room and workers is None:
            raise DopantError(
                f"no node of the cluster has {threads} CPU{'s' * (threads > 1)}{' and a GPU' * gpu} for a trial; lower "
                "recipe.threads, add nodes, or give --workers to wait for nodes that an autoscaler starts"
            )
        self.size = workers or room

    def ask(self, folder: Path) -> Callable[[str, Mapping[str, str]], dict[str, Any]]:
        """What `nodes.examine` calls: runs `look` on every node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        def everywhere(token: str, files: Mapping[str, str]) -> dict[str, Any]:
            look = self.ray.remote(nodes.looker())
            asked = {
                name: look.options(
                    num_cpus=0, max_retries=0,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                ).remote(str(folder), token, dict(files), nodes.SAME)
                for name, node in self.nodes.items()
            }  # fmt: skip
            end, found = time.monotonic() + LOOK_SECONDS, {}
            for name, answer in asked.items():
                try:
                    found[name] = self.ray.get(answer, timeout=max(1.0, end - time.monotonic()))
                except Exception as error:  # a node that dies now is a word about it, whatever Ray calls it
                    found[name] = error
            return found

        return everywhere

    def run(
        self,
        folder: str | Path,
        with_files: Sequence[str | Path] = (),
        *,
        replan: Callable[[], Any] | None = None,
        on_poll: Callable[[list[dict[str, Any]], dict[str, int]], None] | None = None,
        allow: Sequence[str] = (),
    ) -> dict[str, int]:
        """As `engine.run_local`, with the workers on this cluster. Raises ConfigError too, before any worker starts,
        where a node does not see the folder or a file, or has other versions."""
        folder = Path(os.path.abspath(folder))
        seen = [*with_files, *(path for path in [folder / "study.toml"] if path.is_file())]
        files = nodes.sums_of(seen)
        facts = nodes.examine(folder, files, self.ask(folder))
        provenance.add_nodes(folder / "provenance.json", facts)
        with Store.open(folder) as store:
            crew = _RayCrew(self, store, with_files, allow, files, facts)
            return carry_out(store, crew, replan, on_poll)


class _Member:
    """A worker on some node, as the crew sees it; all but the construction happens in the crew's reading thread."""

    def __init__(self, actor: Any, log: Path):
        self.actor, self.log = actor, log
        self.desk = Desk()
        self.asked = actor.exchange.remote([], False)  # the exchange under way; None after the last
        self.name, self.ready, self.identity = "a worker", False, ""
        self.facts: dict[str, Any] | None = None
        self.message: dict[str, Any] | None = None
        self.status: int | None = None
        self.last_words = self.problem = ""

    def ended(self) -> int | None:
        return self.status

    def tail(self) -> str:
        return self.last_words

    def close(self) -> None:
        """Its process on the node, and the worker with it."""
        import ray

        with contextlib.suppress(Exception):  # it may be gone, or Ray may be
            ray.kill(self.actor)


class _RayCrew(Crew):
    """Workers on a cluster. A thread of its own answers them from a store of its own, so that they need not wait while
    the study is planned on."""

    def __init__(
        self, cluster: Cluster, store: Store, files: Sequence[str | Path], allow: Sequence[str],
        sums: Mapping[str, str], known: dict[str, dict[str, Any]],
    ):  # fmt: skip
        super().__init__(store, cluster.size, [str(Path(file).resolve()) for file in files], allow)
        self.cluster, self.sums, self.known = cluster, dict(sums), known
        self.stopping = False
        self.failure: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="desk", daemon=True)
        self._thread.start()

    def start(self, threads: int) -> _Member:
        environment = {k: v for k, v in os.environ.items() if k.startswith("DOPANT_") or k == "PYTHONPATH"}
        kind = self.cluster.ray.remote(Relay).options(
            num_cpus=threads, num_gpus=int(self.cluster.gpu), max_restarts=0, max_task_retries=0
        )
        actor = kind.remote(
            str(self.store.folder), self.started, self.files, threads, list(self.allow), owners.identity(),
            environment=environment, files=self.sums, place=os.getcwd(),
        )  # fmt: skip
        return _Member(actor, self.store.folder / "logs" / f"worker-{self.started}.log")

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure
        for member in self.workers:
            if member.problem:
                raise ConfigError(member.problem.splitlines())
            if member.facts is not None and member.facts["host"] not in {f["host"] for f in self.known.values()}:
                self.known[member.facts["host"]] = member.facts  # a node that came later
                provenance.add_nodes(self.store.folder / "provenance.json", self.known)
        for member in self.workers:  # a node that dies while a worker starts is no fault of the worker's
            if member.status == LOST and not member.ready:
                member.ready = True
        super().check()

    def held(self, worker: _Member, status: int) -> bool:
        # on another machine nobody can see that it has ended; here we know
        taken = self.store.take_from(worker.identity, counted=status != INTERRUPTED) if worker.identity else 0
        return bool(taken) or worker.desk.lease is not None

    def interrupt(self) -> None:
        """Ask all to save and stop; a second interrupt, or the end of the grace, kills them."""
        self.stopping = True
        end = time.monotonic() + GRACE_SECONDS + WAIT_SECONDS
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < end and any(m.ready and m.status is None for m in self.workers):
                time.sleep(0.02)

    def close(self) -> None:
        self._end.set()
        self._thread.join(timeout=5)
        super().close()

    # --- the thread that answers ------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            with Store.open(self.store.folder) as store:
                while not self._end.is_set():
                    asked = {member.asked: member for member in [*self.workers] if member.asked is not None}
                    if not asked:
                        self._end.wait(0.05)
                        continue
                    for answer in self._came([*asked]):
                        self._hear(store, asked[answer], answer)
        except BaseException as error:
            self.failure = error if isinstance(error, DopantError) else _unexpected(error)

    def _came(self, asked: list[Any]) -> list[Any]:
        wait = self.cluster.ray.wait
        came, rest = wait(asked, num_returns=1, timeout=0.1)
        more = wait(rest, num_returns=len(rest), timeout=0)[0] if came and rest else []
        return [*came, *more]

    def _hear(self, store: Store, member: _Member, answer: Any) -> None:
        try:
            said = self.cluster.ray.get(answer)
        except self.cluster.ray.exceptions.RayError as error:
            member.last_words = " ".join(str(error).split())[-600:]
            member.asked, member.status = None, LOST
            return
        member.name, member.facts = f"a worker on {said['host']}", said["facts"]
        if said["problem"]:
            member.asked, member.problem = None, said["problem"]
            return
        member.ready, member.identity = said["ready"], said["owner"] or ""
        member.message = said["message"]
        answers = [member.desk.answer(store, request) for request in said["requests"]]
        if said["status"] is None:
            member.asked = member.actor.exchange.remote(answers, self.stopping)
            return
        member.last_words = said["tail"]
        member.asked, member.status = None, said["status"]


def _unexpected(error: BaseException) -> DopantError:
    return StoreError(
        f"the cluster cannot be reached any more ({type(error).__name__}: {' '.join(str(error).split())[:300]}); "
        "finished work is intact: run again when it can"
    )
