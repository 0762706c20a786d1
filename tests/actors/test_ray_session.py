"""Ray is joined or started once, for as long as asked, and what was not started here is left alone.

Each test is a program of its own: Ray reads its environment when it is imported.
"""

from pathlib import Path

import pytest

from tests.actors.ray_program import run_program


def test_importing_the_packages_does_not_import_ray() -> None:
    told = run_program(
        """
        import sys
        import actors, cluster, cluster.cli, cluster.runner, coordination, experiments.library_survey
        print("ray" in sys.modules)
        """,
        preamble="",
    )
    assert told == ["False"]


@pytest.mark.ray
@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_swarms_in_one_session_share_a_ray_and_it_ends_with_the_session(mode: str) -> None:
    told = run_program(
        """
        with ray_session("local", RAY_OPTIONS) as session:
            node = ray.get_runtime_context().get_node_id()
            for name in ("one", "two"):
                print(asyncio.run(answer(Plan({"echo": Role(cast.Echo)}, run_id=name))))
                print(ray.get_runtime_context().get_node_id() == node)
            with ray_session() as inner:
                print(session.started_here, inner.started_here)
            print(ray.is_initialized())
        print(ray.is_initialized())
        """,
        RAY_AUTH_MODE=mode,
        **({"RAY_AUTH_TOKEN": "f" * 64} if mode == "token" else {}),
    )
    assert told == ["hello", "True", "hello", "True", "True False", "True", "False"]


@pytest.mark.ray
def test_a_running_cluster_is_found_used_and_left_running() -> None:
    told = run_program(
        """
        from ray.cluster_utils import Cluster
        cluster = Cluster(initialize_head=True, head_node_args=NODE)  # recorded in the default place
        plan = Plan({"echo": Role(cast.Echo)}, run_id="guest")
        print(asyncio.run(answer(plan, num_cpus=7)), ray.is_initialized())
        os.environ["RAY_ADDRESS"] = cluster.address
        print(asyncio.run(answer(plan)), ray.is_initialized())
        del os.environ["RAY_ADDRESS"]
        print(asyncio.run(answer(plan, cluster.address)), ray.is_initialized())
        try:
            asyncio.run(answer(plan, "127.0.0.1:9"))
        except ConfigurationError as error:
            print(error)
        with ray_session() as session:
            print(session.started_here, ray.get_runtime_context().gcs_address == cluster.address)
            try:
                asyncio.run(answer(plan, "192.0.2.9:6379"))
            except ConfigurationError as error:
                print(f"has joined the Ray cluster at {cluster.address} already" in str(error))
        print(all(process.poll() is None for process in cluster.head_node.live_processes() for process in [process[1]]))
        cluster.shutdown()
        """
    )
    assert told[:3] == ["hello False", "hello False", "hello False"]
    assert "nothing answers at 127.0.0.1:9" in told[3]
    assert told[4:] == ["False True", "True", "True"]


@pytest.mark.ray
def test_the_record_of_a_cluster_that_has_crashed_is_not_believed() -> None:
    told = run_program(
        """
        Path(os.environ["RAY_TMPDIR"], "ray", "ray_current_cluster").write_text("127.0.0.1:9")
        with ray_session(options={"num_cpus": 1, "include_dashboard": False}) as session:
            print(session.started_here)
        """
    )
    assert told == ["True"]


@pytest.mark.ray
def test_a_run_id_that_is_in_use_is_refused_and_nothing_of_the_other_run_is_harmed() -> None:
    told = run_program(
        """
        import actors.ray_runtime
        actors.ray_runtime._NAME_WAIT_S = 0.5
        async def two():
            async with Swarm.on_ray(Plan({"echo": Role(cast.Echo)}, run_id="same")) as first:
                try:
                    await Swarm.on_ray(Plan({"echo": Role(cast.Echo)}, run_id="same")).start()
                except ConfigurationError as error:
                    print(error)
                print((await first.ask("echo", "still here")).text)
                async with Swarm.on_ray(Plan({"echo": Role(cast.Echo)}, run_id="other")) as second:
                    print((await second.ask("echo", "beside")).text)
        with ray_session("local", RAY_OPTIONS):
            asyncio.run(two())
        """
    )
    assert "run 'same' is at work on this cluster already" in told[0]
    assert told[1:] == ["still here", "beside"]


@pytest.mark.ray
def test_agents_that_no_node_has_room_for_are_told_and_not_waited_for_for_ever() -> None:
    told = run_program(
        """
        limits = Limits(start_timeout_s=15.0)
        miner = Role(cast.Echo, 2, dedicated=True, num_cpus=3, resources={"pick": 1})
        try:
            asyncio.run(answer(Plan({"miner": miner, "echo": Role(cast.Echo)}, limits=limits), "local", **RAY_OPTIONS))
        except ConfigurationError as error:
            print(error)
        print(ray.is_initialized())
        """
    )
    assert "no place within 15 s for miner/0, miner/1" in told[0]
    assert "'miner': {'num_cpus': 3, 'num_gpus': 0.0, 'pick': 1}" in told[0]
    assert told[1] == "False"


def test_an_address_of_ray_client_is_refused() -> None:
    told = run_program(
        """
        try:
            asyncio.run(answer(Plan({"echo": Role(cast.Echo)}), "ray://head:10001"))
        except ConfigurationError as error:
            print(error)
        """
    )
    assert "ray job submit" in told[0]


@pytest.mark.ray
@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_run_that_is_interrupted_leaves_no_actors_on_the_cluster(tmp_path: Path, signal_name: str) -> None:
    told = run_program(
        """
        import signal, subprocess, time
        from ray.cluster_utils import Cluster
        from ray.util import list_named_actors
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        os.environ["RAY_ADDRESS"] = cluster.address
        command = ["-m", "cluster.cli", "run", os.environ["FILE"], "--results", os.environ["RESULTS"]]
        program = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
        with ray_session():
            names = lambda: sorted(actor["name"] for actor in list_named_actors(all_namespaces=True))
            while len(names()) < 2:
                time.sleep(0.2)
            time.sleep(1.0)
            print(names())
            program.send_signal(getattr(signal, os.environ["SIGNAL"]))
            code = program.wait(30)
            until = time.monotonic() + 20
            while names() and time.monotonic() < until:
                time.sleep(0.2)
            print(names(), code)
        cluster.shutdown()
        """,
        FILE=str(endless(tmp_path)),
        RESULTS=str(tmp_path / "results"),
        SIGNAL=signal_name,
    )
    assert told == ["['cell/0', 'cell/1']", f"[] {-9 if signal_name == 'SIGKILL' else 130}"]


def endless(folder: Path) -> Path:
    """An experiment that runs until it is ended."""
    file = folder / "endless.yaml"
    file.write_text(
        "on: ray\n"
        "swarm:\n"
        "  cells: 2\n"
        "  roles: {gossip: {class: 'tests.actors.cast:Gossip', count: 40, parameters: {peers: 40, hops: 1000000}}}\n"
        "send: [{to: gossip/1, content: 1000000}]\n"
        "stop: {seconds: 600}\n"
    )
    return file
