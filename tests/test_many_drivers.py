"""Several `lambda-search drive` on one store, and a shell beside them."""

import json
import os
import signal
import time
from datetime import UTC
from datetime import datetime

import pytest

import lambda_search.drive as driving
from lambda_search import studies
from lambda_search.drive import drive
from lambda_search.paths import leases_folder
from lambda_search.spec import parse_specs
from lambda_search.store import leases
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.conftest import STUDY
from tests.search.running import record
from tests.shell import end_group
from tests.shell import said
from tests.shell import start
from tests.shell import wait_until

pytestmark = pytest.mark.slow

NAMES = [f"tiny-{number}" for number in range(10)]


def spec_of(folder, name, seed, trials=4):
    text = STUDY.format(folder=folder).replace("name: tiny", f"name: {name}")
    text = text.replace("seed: 3", f"seed: {seed}").replace("samples: 80", "samples: 32")
    [spec] = parse_specs(text.replace("trials: 7", f"trials: {trials}"))
    return spec


@pytest.fixture(scope="module")
def ten(tiny_pipeline):
    """Ten studies that share no image."""
    return [spec_of(tiny_pipeline, name, seed) for seed, name in enumerate(NAMES)]


@pytest.fixture(scope="module")
def undisturbed(ten, tmp_path_factory):
    """What one driver leaves behind, by study."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        store = Store()
        studies.submit(ten, store)
        drive(store, SerialPool(), at_once=1)
        found = {name: record(store, name) for name in NAMES}
        store.close()
    return found


@pytest.fixture
def drivers(home, tmp_path):
    """Starts drivers of one worker; their words lie in `process.words`, a path."""
    started = []

    def begin(url, *options):
        path = tmp_path / f"driver-{len(started)}.txt"
        with path.open("w") as log:
            process = start("drive", "--store", url, "--workers", 1, *options, home=home, log=log)
        process.words = path
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            end_group(process, signal.SIGKILL)


def is_up(process):
    return "driving studies of" in process.words.read_text()


def driven_by(store, process):
    """The studies that a driver is at work on."""
    words = f"process {process.pid} on "
    return [one for one in store.studies() if one.driver.startswith(words)]


def in_mid_generation(store, process):
    """Whether a driver has proposed trials that have not ended."""
    return any(
        trial.is_open for study in driven_by(store, process) for trial in store.trials(study.id)
    )


@pytest.mark.parametrize(
    ("url", "count", "options"),
    [("postgresql", 3, ()), ("sqlite", 2, ("--until-empty",))],
    indirect=["url"],
)
def test_one_of_several_drivers_is_killed(
    url, count, options, ten, undisturbed, drivers, home, capsys
):
    """Each study runs once, and ends as if there had been one driver and no accident."""
    began = time.monotonic()
    store = Store(url)
    if options:
        studies.submit(ten, store)
    processes = [drivers(url, *options) for _ in range(count)]
    if not options:
        wait_until(lambda: all(is_up(one) for one in processes))
        studies.submit(ten, store)
    wait_until(lambda: all(driven_by(store, one) for one in processes))
    up = time.monotonic()
    victim = wait_until(lambda: next((p for p in processes if in_mid_generation(store, p)), None))
    os.kill(victim.pid, signal.SIGKILL)
    killed = datetime.now(UTC)
    victim.wait(10)
    _, status, _ = said("status", "--store", url, home=home)
    wait_until(lambda: all(one.state == "done" for one in store.studies()))
    done = time.monotonic()

    for name in NAMES:
        assert record(store, name) == undisturbed[name], name
    attempts = {name: store.study(name).attempts for name in NAMES}
    words = f"process {victim.pid} on "
    ends = {name: [one.outcome for one in many] for name, many in attempts.items()}
    lost = {name for name, many in ends.items() if "lost" in many}
    assert lost
    for name, many in attempts.items():
        assert ends[name] == (["lost", "done"] if name in lost else ["done"])
        assert many[0].driver.startswith(words) or name not in lost
    waits = [(attempts[name][1].began - killed).total_seconds() for name in lost]
    assert max(waits) < leases.LEASE_SECONDS - driving._RENEW_SECONDS, "no lease was waited for"
    assert len({many[-1].driver for many in attempts.values()}) >= count - 1

    alive = [one for one in processes if one is not victim]
    for process, number in zip(alive, (signal.SIGTERM, signal.SIGINT), strict=False):
        if not options:
            os.kill(process.pid, number)
        process.communicate(timeout=60)
        assert process.returncode == (0 if options else 130), process.words.read_text()
        assert "SIGTERM" not in process.words.read_text(), "a trace of Ray's"
    for process in processes:
        assert "Traceback" not in process.words.read_text(), process.words.read_text()
    with capsys.disabled():
        print(
            f"\n{count} drivers up in {up - began:.0f} s, ten studies in {done - up:.0f} s, "
            f"{len(lost)} taken over {max(waits):.1f} s after the kill\n{status}"
        )
        print(alive[0].words.read_text()[-2500:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_driver_gives_its_studies_back(number, tiny_pipeline, drivers, home, capsys):
    store = Store()
    studies.submit(spec_of(tiny_pipeline, "long", 0, trials=400), store)
    process = drivers(store.url)
    wait_until(lambda: in_mid_generation(store, process))
    began = time.monotonic()
    os.kill(process.pid, number)
    process.communicate(timeout=60)
    with capsys.disabled():
        print(f"\n{number.name}: ended after {time.monotonic() - began:.1f} s")
        print(process.words.read_text())
    assert process.returncode == 130
    words = process.words.read_text()
    assert "Nothing that was computed is lost" in words and "Traceback" not in words
    study = store.study("long")
    assert study.state == "queued" and not study.driver
    assert not list(leases_folder().iterdir()), "a lease is left"
    assert [one.outcome for one in study.attempts] == ["stopped"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_shell_beside_a_driver(url, tiny_pipeline, drivers, home, tmp_path, capsys):
    def shell(*arguments):
        code, out, err = said(*arguments, "--store", url, home=home)
        with capsys.disabled():
            print(f"\n$ lambda-search {' '.join(map(str, arguments))}   [{code}]\n{out}{err}")
        return code, out, err

    files = {}
    for name, trials in ("long", 400), ("brief", 4):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(spec_of(tiny_pipeline, name, 0, trials).to_yaml())
    store = Store(url)
    assert "Nobody drives" in shell("submit", files["long"])[2]
    process = drivers(url)
    wait_until(lambda: in_mid_generation(store, process))
    assert "Nobody drives" not in shell("submit", files["brief"])[2]
    assert str(process.pid) in shell("status")[1]
    code, out, _ = shell("stop", "long")
    assert code == 0 and str(process.pid) in out
    asked = datetime.now(UTC)
    code, _, err = shell("wait", "long")
    with capsys.disabled():
        ended = store.study("long").attempts[-1].ended
        print(f"stopped {(ended - asked).total_seconds():.1f} s after the command had ended")
    assert code == 1 and "stopped" in err and "lambda-search resume long" in err
    assert "long: It was stopped as asked" in process.words.read_text()
    assert shell("stop", "long")[0] == 2
    code, out, _ = shell("wait", "brief")
    assert code == 0 and "brief" in out
    assert shell("resume", "long")[0] == 0
    wait_until(lambda: driven_by(store, process))
    shell("status", "long")
    facts = json.loads(shell("status", "brief", "--json")[1])
    assert (
        "no longer answers" in shell("retract", facts["row"]["id"][:12], "--reason", "a trial")[1]
    )
    assert shell("stop", "long")[0] == 0
    wait_until(lambda: store.study("long").state == "stopped")
    with capsys.disabled():
        print(process.words.read_text()[-1500:])
