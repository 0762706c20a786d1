"""From an experiment to the plan of a swarm.

Rules:
* `completed` asks the experiment's `setup` for what depends on its input, once, before a trial begins; the answer is
  kept with the trial, so a trial that goes on later, or is replayed, is the same one though the input has changed.
* What `setup` returns is checked as the file is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.address import role_of
from actors.errors import ConfigurationError
from actors.faults import FaultPlan, fault_from
from actors.plan import JournalSettings, Plan, Role
from actors.topology import topology_from
from cluster.class_path import missing_parameters, resolve, resolve_agent, told
from cluster.experiment import Experiment, RoleSection, substituted
from cluster.located_yaml import nearest
from cluster.run_memory import closed_seats
from cluster.run_model import closed_model_seats


def completed(experiment: Experiment) -> Experiment:
    """The experiment with what its `setup` says about its roles. Raises `ConfigurationError`."""
    if experiment.setup is None:
        return experiment
    where = f"setup {experiment.setup}"
    try:
        answer = resolve(experiment.setup)(experiment)
    except ConfigurationError:
        raise
    except Exception as error:  # the user's code may raise anything; it is told with its place
        raise ConfigurationError(f"{where}: {told(error)}") from error
    if not isinstance(answer, Mapping):
        raise ConfigurationError(f"{where}: returned {answer!r}. Return {{role: {{'count': 12}}}}")
    values: Any = experiment.configuration()
    values.pop("setup")
    roles: dict[str, Any] = values["swarm"]["roles"]
    for name, settings in answer.items():
        if name not in roles:
            raise ConfigurationError(f"{where}: there is no role '{name}'{nearest(str(name), roles)}")
        if not isinstance(settings, Mapping):
            raise ConfigurationError(
                f"{where}: gave {settings!r} for the role '{name}'. Give {{'count': 12}}"
            )
        parameters = {**roles[name].get("parameters", {}), **settings.get("parameters", {})}
        roles[name] = {**roles[name], **settings, **({"parameters": parameters} if parameters else {})}
    try:
        return Experiment.of(values, where)
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {error}. Return text, numbers, booleans, None, lists and dicts"
        ) from error


def plan_of(experiment: Experiment, *, run_id: str, journal: Path | None) -> Plan:
    """The plan of a completed experiment's swarm, checked. `journal` is the folder for it, where one is kept."""
    swarm = experiment.swarm
    settings = swarm.journal
    counts = {name: role.count for name, role in swarm.roles.items()}
    plan = Plan(
        roles={name: _role(name, role, experiment) for name, role in swarm.roles.items()},
        seed=experiment.seed,
        schedule=swarm.schedule,
        cells=swarm.cells,
        run_id=run_id,
        topology=None
        if swarm.topology is None
        else topology_from(swarm.topology, counts, experiment.seed, "swarm.topology"),
        faults=_faults(experiment),
        limits=swarm.limits,
        journal=None
        if settings is None or journal is None
        else JournalSettings(
            directory=journal,
            compress=settings.compress,
            segment_bytes=settings.segment_bytes,
            sync=settings.sync,
            checkpoint_every=settings.checkpoint_every,
        ),
        fingerprint=swarm.fingerprint,
        on_error=swarm.on_error,
        budget_messages=experiment.budget.messages,
        traffic_sample=swarm.traffic_sample,
        seats={**closed_seats(experiment), **closed_model_seats(experiment)},
    )
    plan.check()
    for item in experiment.send:
        _check_recipient(plan, item.to)
    return plan


def _role(name: str, section: RoleSection, experiment: Experiment) -> Role:
    agent = resolve_agent(section.agent)
    parameters = {key: substituted(value, experiment.input) for key, value in section.parameters.items()}
    missing = [] if section.count == 0 else missing_parameters(agent, parameters)
    if missing:
        wanted = ", ".join(missing)
        raise ConfigurationError(
            f"swarm.roles.{name}.parameters: {agent.__name__} needs {wanted}. Give it a value"
        )
    return Role(
        agent=agent,
        count=section.count,
        parameters=parameters,
        dedicated=section.dedicated,
        num_cpus=section.num_cpus,
        num_gpus=section.num_gpus,
        resources=section.resources,
    )


def _faults(experiment: Experiment) -> FaultPlan | None:
    rules = tuple(fault_from(fault, f"faults[{index}]") for index, fault in enumerate(experiment.faults))
    return FaultPlan(rules) if rules else None


def _check_recipient(plan: Plan, to: str) -> None:
    count = plan.roles[role_of(to)].count
    if to.endswith("/*") or plan.placement(1).declared(to):
        return
    mend = (
        f"Send to '{role_of(to)}'" if count is None else f"The role has {count} agents, from {role_of(to)}/0"
    )
    raise ConfigurationError(f"send: there is no agent '{to}'. {mend}")
