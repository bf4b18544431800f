"""What several processes settle together before they train: the same options and texts everywhere, one kind of engine,
and the plan of the first."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from charrnn.config.train import TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec
from charrnn.errors import InputError, UsageError
from charrnn.training.changes import apply_changes
from charrnn.training.distributed import World, difference, rows_of
from charrnn.training.finetune import Parent
from charrnn.training.ingest import is_read_once
from charrnn.training.learner import training_spec
from charrnn.training.plan import Plan, make_plan
from charrnn.training.resume import TrainerState
from charrnn.training.throughput import SpeedMeter


def check_options(config: TrainConfig, world: World) -> None:
    """Raise UsageError unless these processes can train by these options, which are the same for all."""
    if world.size > 1:
        if different := difference(world.gather(repr(config))):
            raise UsageError(f"the processes have different options: {different}")
        for name in (*config.corpus, config.val_file, config.mix):
            if name is not None and is_read_once(name):
                raise UsageError(f"{name!r} can be read by one process only, and there are {world.size}: name a file")
        if config.batch is not None:
            rows_of(world, config.batch)


def check_digest(digest: str, world: World) -> None:
    """Raise InputError unless all processes have read the same text."""
    if different := difference([each[:16] for each in world.gather(digest)]):
        raise InputError(f"the processes read different texts: SHA-256 {different}")


def shared_spec(config: TrainConfig, threads: int | None, world: World) -> EngineSpec:
    """Return what trains in this process: on a GPU of its own, or with its share of the CPUs.

    Args:
        config: says on what kind of device. threads: as asked for.

    Raises:
        UsageError: it is not here, or the processes have different ones.
    """
    if world.size == 1:
        return training_spec(config)

    def own_spec() -> EngineSpec:
        device, own_threads = world.place(config.device, threads)
        spec = training_spec(config, device=device)
        return replace(spec, threads=own_threads or spec.threads)

    spec = world.each(own_spec)
    kind = f"{spec.engine} on {spec.device.partition(':')[0]} in {spec.precision}"
    if different := difference(world.gather(kind)):
        raise UsageError(f"the processes would train by different engines: {different}", ("engine",))
    return spec


def shared_plan(
    config: TrainConfig,
    begun: tuple[Plan, dict[str, Any], TrainerState] | Parent | None,
    dataset: Dataset,
    *,
    spec: EngineSpec,
    elapsed: Callable[[], float],
    check: Callable[[], None],
    world: World,
) -> tuple[Plan, dict[str, Any]]:
    """Return the plan of process 0, for which all take part in measuring; and what is changed in a run that is resumed.

    Args:
        config: the options. dataset, spec, elapsed, check: as `make_plan` takes them.
        begun: the plan of a run that is resumed, its changes and its state; or the model to start from; None: neither.

    Raises:
        UsageError: the rows of the run's batch cannot be shared out. Else as `make_plan`.
    """
    if isinstance(begun, tuple):
        rows_of(world, begun[0].config.batch)

    def make() -> tuple[Plan, dict[str, Any]]:
        if isinstance(begun, tuple):
            plan, changes, state = begun
            plan = apply_changes(plan, changes, state, dataset, spec=spec, elapsed=elapsed, check=check, world=world)
            return plan, changes
        if world.size == 1:
            return make_plan(config, dataset, spec=spec, elapsed=elapsed, check=check, parent=begun), {}
        share = replace(config, threads=spec.threads)  # there is nothing to choose
        plan = make_plan(share, dataset, spec=spec, elapsed=elapsed, check=check, world=world, parent=begun)
        reasons = (*plan.reasons, f"processes {world.size}: {plan.config.batch} rows are shared out")
        return replace(plan, config=replace(plan.config, threads=config.threads), reasons=reasons), {}

    return world.first(make, SpeedMeter(dataset, spec, check, world).assist)
