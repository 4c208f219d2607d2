"""The dispatcher by itself: random histories, and what it decides in the plain ones."""

import math
from collections import Counter

import pytest
from hypothesis import HealthCheck
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from hypothesis.stateful import invariant
from hypothesis.stateful import precondition
from hypothesis.stateful import rule
from hypothesis.stateful import run_state_machine_as_test

from lambda_search.cluster.dispatch import Dispatcher
from lambda_search.cluster.messages import GPU_DRIVER
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Ask
from lambda_search.cluster.messages import Fail
from lambda_search.cluster.messages import GiveUp
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Resolve
from lambda_search.cluster.messages import Revoke
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Stop
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Unfit
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.messages import Withdrawn
from lambda_search.cluster.nodes import Nodes
from lambda_search.cluster.policy import Policy
from lambda_search.errors import LambdaSearchError

HERE = {"torch": "2.9.1", "numpy": "2.3"}
KINDS = ("A100", "H100")


class Cluster:
    """Obeys a dispatcher, and checks each instruction against what is known to be so."""

    def __init__(self, most=None, policy=None, grows=False):
        self.policy = policy or Policy()
        self.dispatcher = Dispatcher(HERE, most, self.policy, grows)
        self.now = 0.0
        self.tasks = {}  # number -> Submitted
        self.ended = {}  # number -> Resolve or Fail
        self.starting = {}  # worker -> node
        self.up = {}  # worker -> kind
        self.nodes = {}  # worker -> node
        self.sent = {}  # worker -> tasks in order
        self.gone = {}  # worker that was stopped -> what it had
        self.doubted = set()
        self.revoked = []  # (worker, task) that may have been begun all the same
        self.starts = []
        self.asked = []
        self.told = []

    def tell(self, event):
        instructions = self.dispatcher.handle(event, self.now)
        for instruction in instructions:
            self.obey(instruction)
        return instructions

    def obey(self, instruction):
        match instruction:
            case Start(worker, node):
                assert worker not in self.nodes
                self.starting[worker] = self.nodes[worker] = node
                self.starts.append((self.now, node))
                self.sent[worker] = []
            case Stop(worker):
                assert worker in self.starting or worker in self.up
                self.starting.pop(worker, None)
                self.up.pop(worker, None)
                self.gone[worker] = self.sent.pop(worker)
            case Send(worker, task):
                assert task not in self.ended
                assert self.tasks[task].kind in (None, self.up[worker])
                others = [one for one, tasks in self.sent.items() if task in tasks]
                assert len(others) < 2 and worker not in others
                if others and task not in self.doubted:
                    assert not self.sent[worker] and self.sent[others[0]][0] == task
                self.sent[worker].append(task)
                doubted = sum(one in self.doubted for one in self.sent[worker])
                assert len(self.sent[worker]) <= self.policy.ahead + doubted
            case Revoke(worker, task):
                self.sent[worker].remove(task)
                self.revoked.append((worker, task))
            case Resolve(task) | Fail(task):
                assert task in self.tasks
                assert task not in self.ended
                if isinstance(instruction, Fail) and "is needed" in str(instruction.error):
                    assert self.tasks[task].kind not in self.up.values()
                    assert self.tasks[task].kind is not None or not self.up
                self.ended[task] = instruction
            case Ask(workers):
                self.asked.append(dict(workers))
            case GiveUp(error):
                assert not self.up
                self.told.append(error)

    def submit(self, kind=None, urgent=False, sort="shard"):
        number = len(self.tasks)
        self.tasks[number] = Submitted(number, sort, kind, urgent)
        self.tell(self.tasks[number])
        return number

    def room(self, **nodes):
        self.tell(Room(nodes))

    def pass_time(self, seconds, step=1.0):
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + step)
            self.tell(Tick())

    def ready(self, worker, kind="A100", versions=HERE):
        node = self.starting.get(worker)
        if node is not None and all(
            versions.get(name, there) == there for name, there in HERE.items()
        ):
            del self.starting[worker]
            self.up[worker] = kind
        self.tell(Ready(worker, kind, f"host-of-{node}", versions))

    def answer(self, worker, task=None, is_doubtful=False):
        task = self.sent[worker][0] if task is None else task
        if task in self.sent.get(worker, ()):
            self.sent[worker].remove(task)
        if is_doubtful:
            self.doubted.add(task)
        self.tell(Answered(worker, task, (worker, task), is_doubtful))

    def unfit(self, worker, task=None):
        """Its host cannot do what it was sent."""
        task = self.sent[worker][0] if task is None else task
        error = LambdaSearchError(f"host-of-{self.nodes[worker]} has no place.", "Share one.")
        if has_ended := task in self.ended:
            self.sent[worker].remove(task)
        self.tell(Unfit(worker, task, error))
        assert (worker in self.gone) is not has_ended, "what has ended says nothing of a host"
        return error

    def all_up(self, kind="A100"):
        for worker in list(self.starting):
            self.ready(worker, kind)


NODES = st.sampled_from(["n1", "n2", "n3"])
ROOM = st.dictionaries(NODES, st.integers(0, 3))
VERSIONS = st.sampled_from([HERE, HERE, HERE, {"torch": "2.9.1"}, {"torch": "2.8"}, {"jax": "1"}])


class Histories(RuleBasedStateMachine):
    """Anything may happen, at any time; `teardown` then lets the world be good, or empty."""

    most = None
    slow = 2.0
    grows = False

    def __init__(self):
        super().__init__()
        policy = Policy(slow=self.slow, growing=60.0)
        self.cluster = Cluster(self.most, policy, self.grows)

    @rule(
        kind=st.sampled_from([None, *KINDS, "TPU"]),
        urgent=st.booleans(),
        sort=st.sampled_from("ab"),
    )
    def submit(self, kind, urgent, sort):
        self.cluster.submit(kind, urgent, sort)

    @rule(room=ROOM)
    def room(self, room):
        self.cluster.room(**room)

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 7.0, 61.0, 200.0, 4000.0]))
    def wait(self, seconds):
        self.cluster.now += seconds
        self.cluster.tell(Tick())

    @precondition(lambda self: self.cluster.starting)
    @rule(data=st.data(), kind=st.sampled_from(KINDS), versions=VERSIONS)
    def ready(self, data, kind, versions):
        self.cluster.ready(
            data.draw(st.sampled_from(sorted(self.cluster.starting))), kind, versions
        )

    @precondition(lambda self: self.cluster.nodes)
    @rule(data=st.data(), is_recalled=st.booleans())
    def lose(self, data, is_recalled):
        worker = data.draw(st.sampled_from(sorted(self.cluster.nodes)))  # may be gone already
        self.cluster.tell(Lost(worker, "killed", is_recalled))

    @precondition(lambda self: any(self.cluster.sent.values()))
    @rule(data=st.data())
    def answer(self, data):
        busy = sorted(worker for worker, tasks in self.cluster.sent.items() if tasks)
        worker = data.draw(st.sampled_from(busy))
        self.cluster.answer(worker, data.draw(st.sampled_from(self.cluster.sent[worker])))

    @precondition(lambda self: any(self.cluster.sent.values()))
    @rule(data=st.data())
    def answer_not_a_number(self, data):
        busy = sorted(worker for worker, tasks in self.cluster.sent.items() if tasks)
        worker = data.draw(st.sampled_from(busy))
        task = data.draw(st.sampled_from(self.cluster.sent[worker]))
        self.cluster.answer(worker, task, is_doubtful=True)

    @precondition(lambda self: any(self.cluster.sent.values()))
    @rule(data=st.data())
    def is_unfit(self, data):
        busy = sorted(worker for worker, tasks in self.cluster.sent.items() if tasks)
        worker = data.draw(st.sampled_from(busy))
        self.cluster.unfit(worker)

    @precondition(lambda self: any(self.cluster.gone.values()))
    @rule(data=st.data())
    def answer_after_all(self, data):
        late = sorted((worker, task) for worker, had in self.cluster.gone.items() for task in had)
        self.cluster.tell(Answered(*data.draw(st.sampled_from(late)), "late"))

    @precondition(lambda self: self.cluster.revoked)
    @rule(data=st.data())
    def answer_what_was_taken_back(self, data):
        worker, task = data.draw(st.sampled_from(self.cluster.revoked))
        self.cluster.tell(Answered(worker, task, "begun"))

    @precondition(lambda self: self.cluster.tasks)
    @rule(data=st.data())
    def withdraw(self, data):
        task = data.draw(st.sampled_from(sorted(self.cluster.tasks)))
        if task not in self.cluster.ended:
            self.cluster.ended[task] = None  # nobody waits for it
            self.cluster.tell(Withdrawn(task))

    @precondition(lambda self: any(self.cluster.sent.values()))
    @rule(data=st.data())
    def cannot_travel(self, data):
        busy = sorted(worker for worker, tasks in self.cluster.sent.items() if tasks)
        worker = data.draw(st.sampled_from(busy))
        task = self.cluster.sent[worker].pop()
        self.cluster.tell(Unsendable(worker, task, "too large"))
        assert task in self.cluster.ended

    @invariant()
    def nobody_waits_where_a_worker_is_free(self):
        cluster = self.cluster
        sent = {task for tasks in cluster.sent.values() for task in tasks}
        waiting = cluster.tasks.keys() - cluster.ended.keys() - sent
        # one that is slow is sent nothing ahead
        room = 2 if self.slow == math.inf else 1
        free = {kind for worker, kind in cluster.up.items() if len(cluster.sent[worker]) < room}
        for task in waiting:
            assert (
                not free
                if cluster.tasks[task].kind is None
                else (cluster.tasks[task].kind not in free)
            )

    @invariant()
    def starts_are_few(self):
        rooms = Counter(self.cluster.nodes[worker] for worker in self.cluster.starting)
        assert all(count <= 3 for count in rooms.values())
        if self.most is not None:
            assert len(self.cluster.starting) <= self.most * (len(KINDS) + 2)
            for kind, count in Counter(self.cluster.up.values()).items():
                assert count <= self.most * (len(KINDS) + 2), kind

    @invariant()
    def it_knows_who_is_there(self):
        assert self.cluster.dispatcher.kinds() == dict(Counter(self.cluster.up.values()))
        assert self.cluster.dispatcher.size == len(self.cluster.up) + len(self.cluster.starting)

    def teardown(self):
        self.it_ends_with_a_good_node()
        self.cluster.submit("A100")
        self.it_ends_without_any()

    def it_ends_with_a_good_node(self):
        """From now on n1 works as it should, the others are gone; each task takes a second."""
        cluster = self.cluster
        cluster.room()
        cluster.room(n1=2)
        self.work_until_all_has_ended()
        fresh = [cluster.submit(kind) for kind in ("A100", None, "A100", None, "A100")]
        self.work_until_all_has_ended()
        assert all(isinstance(cluster.ended[task], Resolve) for task in fresh)

    def work_until_all_has_ended(self):
        cluster = self.cluster
        for _ in range(80 + 2 * len(cluster.tasks)):
            cluster.all_up("A100")
            cluster.pass_time(1.0)
            for worker in list(cluster.up):
                if cluster.sent[worker]:
                    cluster.answer(worker)
            if cluster.ended.keys() == cluster.tasks.keys():
                return
        raise AssertionError("some tasks have not ended")

    def it_ends_without_any(self):
        """From now on nothing comes up and nobody answers: hung, pending, dead."""
        cluster = self.cluster
        cluster.room(n1=2, n2=1)
        cluster.pass_time(8 * cluster.policy.unmeasured, step=20.0)
        assert cluster.ended.keys() == cluster.tasks.keys()


class CappedHistories(Histories):
    most = 2


class PatientHistories(Histories):
    slow = math.inf


class GrowingHistories(Histories):
    grows = True

    @invariant()
    def no_more_is_asked_for_than_could_be_of_use(self):
        for asked in self.cluster.asked[-1:]:
            assert sum(asked.values()) <= max(1, len(self.cluster.tasks))
            assert all(count > 0 for count in asked.values())


@pytest.mark.parametrize("count", [80, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "histories", [Histories, CappedHistories, PatientHistories, GrowingHistories]
)
def test_whatever_happens_each_task_ends_once(histories, count):
    run_state_machine_as_test(
        histories,
        settings=settings(
            max_examples=count,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def up(n=1, **others):
    """A cluster with n workers up on n1, and nothing to do."""
    cluster = Cluster(**others)
    cluster.room(n1=n)
    cluster.all_up()
    return cluster


def error_of(cluster, task):
    return str(cluster.ended[task].error)


def test_urgent_tasks_go_first_and_the_others_in_order():
    cluster = up(policy=Policy(ahead=1))
    for urgent in (False, False, True, False, True):
        cluster.submit(urgent=urgent)
    for _ in range(5):
        cluster.answer(0)
    assert list(cluster.ended) == [0, 2, 4, 1, 3]


def test_only_the_task_that_ran_is_blamed_and_three_losses_are_poison():
    cluster = up()
    poison, bystander = cluster.submit(), cluster.submit()
    for worker in range(3):
        assert cluster.sent[worker] == [poison, bystander]
        cluster.tell(Lost(worker, "killed"))
        cluster.pass_time(5)
        cluster.all_up()
    assert "lost its worker 3 times: killed" in error_of(cluster, poison)
    assert cluster.sent[3] == [bystander]


def test_a_kind_that_nobody_has_holds_up_nobody_else_and_fails_in_time():
    cluster = up()
    other, mine = cluster.submit("H100"), cluster.submit("A100")
    cluster.answer(0)
    assert mine in cluster.ended and other not in cluster.ended
    cluster.pass_time(62)
    assert "A worker on H100 is needed" in error_of(cluster, other)
    assert "there: 1 on A100" in error_of(cluster, other)


def test_a_foreign_device_serves_its_kind_and_the_wanted_kind_is_tried_elsewhere():
    cluster = Cluster(most=2)
    cluster.room(n1=1, n2=1, n3=1)
    cluster.ready(0, "A100")
    cluster.ready(1, "H100")
    cluster.pass_time(1)
    assert cluster.nodes[2] == "n3"
    cluster.ready(2, "A100")
    assert cluster.dispatcher.kinds() == {"A100": 2, "H100": 1}
    foreign = cluster.submit("H100")
    cluster.answer(1)
    assert isinstance(cluster.ended[foreign], Resolve)


def test_a_late_worker_is_replaced_and_its_answer_counts_once():
    cluster = up(2)
    for _ in range(4):
        cluster.submit()
    for worker in (0, 1, 0, 1):
        cluster.now += 2.0
        cluster.answer(worker)
    late = cluster.submit()
    cluster.pass_time(59)
    assert not cluster.gone
    cluster.pass_time(2)
    assert list(cluster.gone.values()) == [[late]]
    (stopped,) = cluster.gone
    other = 1 - stopped
    assert cluster.sent[other] == [late]
    cluster.tell(Answered(stopped, late, "first"))
    cluster.answer(other, late)
    assert cluster.ended[late] == Resolve(late, "first")


def busy(workers, **others):
    """A cluster whose workers have each done a few tasks of a second, and are free."""
    cluster = up(workers, **others)
    for _ in range(3):
        for _ in range(workers):
            cluster.submit()
        cluster.pass_time(1)
        for worker in range(workers):
            cluster.answer(worker)
    return cluster


def holders(cluster, task):
    return [worker for worker, tasks in cluster.sent.items() if task in tasks]


def test_who_has_nothing_to_do_helps_a_slow_one_and_the_first_answer_counts():
    cluster = busy(3)
    slow = cluster.submit()
    (first,) = holders(cluster, slow)
    cluster.pass_time(2)
    assert holders(cluster, slow) == [first], "it may end any moment"
    cluster.pass_time(1)
    (second,) = set(holders(cluster, slow)) - {first}
    cluster.pass_time(20)
    assert len(holders(cluster, slow)) == 2, "two at most"
    cluster.answer(second, slow)
    assert cluster.ended[slow] == Resolve(slow, (second, slow))
    cluster.answer(first, slow)
    assert cluster.sent == {worker: [] for worker in range(3)}


def test_what_was_not_begun_is_taken_from_who_is_slow():
    cluster = busy(2)
    tasks = [cluster.submit() for _ in range(4)]
    slow = holders(cluster, tasks[0])[0]
    behind = cluster.sent[slow][1]
    quick = 1 - slow
    for _ in range(2):
        cluster.pass_time(1)
        cluster.answer(quick)
    cluster.pass_time(1)
    assert (slow, behind) in cluster.revoked and cluster.sent[quick] == [behind]
    cluster.answer(quick)
    cluster.pass_time(1)
    assert holders(cluster, tasks[0]) == [slow, quick] or holders(cluster, tasks[0]) == [0, 1]


def test_a_slow_worker_is_the_last_choice_and_sent_nothing_ahead():
    cluster = busy(2)
    first = cluster.submit()
    (slow,) = holders(cluster, first)
    quick = 1 - slow
    cluster.now += 10.0  # without a tick: nobody helps
    cluster.answer(slow, first)
    tasks = [cluster.submit() for _ in range(4)]
    assert cluster.sent[quick] == [tasks[0], tasks[2]] and cluster.sent[slow] == [tasks[1]]
    cluster.now += 1.0
    cluster.answer(slow)
    more = cluster.submit()
    assert cluster.sent[slow] == [tasks[3], more], "it has done one as fast as the others"


def test_a_second_copy_goes_nowhere_when_its_worker_is_lost():
    cluster = busy(2)
    task = cluster.submit()
    cluster.pass_time(3)
    assert len(holders(cluster, task)) == 2
    cluster.tell(Lost(1, "killed"))
    assert holders(cluster, task) == [0]
    cluster.tell(Lost(0, "killed"))
    assert holders(cluster, task) == [] and task not in cluster.ended
    cluster.pass_time(3)
    cluster.all_up()
    worker = holders(cluster, task)[0]
    cluster.answer(worker, task)
    assert isinstance(cluster.ended[task], Resolve)


def test_what_is_not_finite_is_tried_on_another_node_once():
    cluster = Cluster()
    cluster.room(n1=2, n2=1)
    cluster.all_up()
    task = cluster.submit()
    (first,) = holders(cluster, task)
    cluster.answer(first, task, is_doubtful=True)
    (second,) = holders(cluster, task)
    assert cluster.nodes[second] != cluster.nodes[first] and task not in cluster.ended
    cluster.answer(second, task, is_doubtful=True)
    assert cluster.ended[task] == Resolve(task, (second, task))
    refuted = cluster.submit()
    cluster.answer(holders(cluster, refuted)[0], refuted, is_doubtful=True)
    (other,) = holders(cluster, refuted)
    cluster.answer(other, refuted)
    assert cluster.ended[refuted] == Resolve(refuted, (other, refuted))


def test_what_is_not_finite_counts_where_nobody_else_is():
    cluster = up(1)
    task = cluster.submit()
    cluster.answer(0, task, is_doubtful=True)
    assert cluster.ended[task] == Resolve(task, (0, task))


def test_a_host_that_calls_its_workers_back_blames_no_task():
    cluster = up(1)
    task = cluster.submit()
    for worker in range(6):
        cluster.tell(Lost(worker, "preempted", is_recalled=True))
        cluster.pass_time(33)
        cluster.all_up()
        cluster.pass_time(1)
    cluster.answer(6, task)
    assert isinstance(cluster.ended[task], Resolve)


def test_a_slow_sort_is_not_taken_for_stuck():
    cluster = up()
    for seconds in (1000.0, 900.0, 5000.0):
        task = cluster.submit(sort="slow")
        cluster.pass_time(seconds, step=10.0)
        cluster.answer(0)
        assert isinstance(cluster.ended[task], Resolve)
    assert not cluster.gone


def test_failing_starts_pause_longer_each_time_and_are_told():
    cluster = Cluster()
    cluster.room(n1=1)
    task = cluster.submit()
    for _ in range(600):
        for worker in list(cluster.starting):
            cluster.tell(Lost(worker, "no driver"))
        cluster.pass_time(1)
    pauses = [b - a for (a, _), (b, _) in zip(cluster.starts, cluster.starts[1:], strict=False)]
    assert pauses[:6] == [1, 2, 4, 8, 16, 32] and set(pauses[6:]) == {60}
    assert error_of(cluster, task).startswith("No worker can start: no driver.")
    assert cluster.told


def test_a_bad_node_does_not_hinder_a_good_one():
    cluster = Cluster()
    cluster.room(bad=2, good=1)
    for worker, node in list(cluster.starting.items()):
        if node == "bad":
            cluster.tell(Lost(worker, "no driver"))
        else:
            cluster.ready(worker)
    assert not cluster.told
    cluster.pass_time(1)
    assert list(cluster.starting.values()) == ["bad"]  # one tries for all


def test_other_versions_are_refused_by_name_and_the_node_is_left_alone():
    cluster = Cluster()
    cluster.room(n1=1, n2=1)
    task = cluster.submit()
    cluster.ready(0, versions={"torch": "2.8", "jax": "1"})
    assert cluster.dispatcher.troubles() == ["host-of-n1 has torch 2.8 (here 2.9.1)"]
    assert not cluster.told
    cluster.pass_time(59)
    assert list(cluster.starting.values()) == ["n2"]
    cluster.ready(1, versions={"numpy": "1.26"})
    assert "host-of-n2 has numpy 1.26 (here 2.3)" in error_of(cluster, task)


def test_a_host_that_cannot_do_any_task_fails_none():
    """It answers at once and would be free for the next one."""
    cluster = Cluster()
    cluster.room(good=1, bad=2)
    cluster.all_up()
    tasks = [cluster.submit() for _ in range(20)]
    (good,) = (worker for worker, node in cluster.nodes.items() if node == "good")
    while bad := [worker for worker in cluster.up if worker != good and cluster.sent[worker]]:
        cluster.unfit(bad[0])
    assert not cluster.ended and len(cluster.up) == 1
    assert cluster.dispatcher.troubles() == ["host-of-bad has no place"]
    while len(cluster.ended) < len(tasks):
        cluster.pass_time(1)
        cluster.answer(good)
    assert all(isinstance(cluster.ended[task], Resolve) for task in tasks)
    assert not cluster.starting, "it is left alone"
    cluster.pass_time(60)
    assert list(cluster.starting.values()) == ["bad"], "it may have been mended"


def test_where_no_host_can_do_any_task_those_that_wait_get_that_very_error():
    cluster = Cluster()
    cluster.room(n1=1, n2=1)
    cluster.ready(0)
    tasks = [cluster.submit() for _ in range(3)]
    cluster.unfit(0)
    assert not cluster.ended, "another host is coming"
    cluster.ready(1)
    error = cluster.unfit(1)
    assert {str(cluster.ended[task].error) for task in tasks} <= {
        "host-of-n1 has no place.\nShare one.",
        str(error),
    }
    again = cluster.submit()
    cluster.pass_time(2000)
    assert "has no place.\nShare one." in error_of(cluster, again), "whatever they do when tried"


def test_a_task_is_not_blamed_for_hosts_that_cannot_do_it():
    cluster = Cluster()
    cluster.room(bad=5, good=1)
    (good,) = (worker for worker, node in cluster.starting.items() if node == "good")
    for worker in [worker for worker in cluster.starting if worker != good]:
        cluster.ready(worker)
    task = cluster.submit()
    while cluster.up:
        cluster.unfit(holders(cluster, task)[0])
    cluster.ready(good)
    cluster.answer(good, task)
    assert isinstance(cluster.ended[task], Resolve)


def test_a_kind_whose_hosts_cannot_do_any_task_fails_while_another_goes_on():
    cluster = Cluster()
    cluster.room(n1=1, n2=1)
    kinds = {"n1": "A100", "n2": "H100"}
    for worker, node in list(cluster.starting.items()):
        cluster.ready(worker, kinds[node])
    task, other = cluster.submit("A100"), cluster.submit("H100")
    error = cluster.unfit(holders(cluster, task)[0])
    assert error_of(cluster, task) == str(error) and not cluster.told
    cluster.answer(holders(cluster, other)[0], other)
    assert isinstance(cluster.ended[other], Resolve)


def test_a_task_that_has_ended_says_nothing_of_its_host():
    """The place that it needs may have been left since."""
    cluster = up(1)
    task, after = cluster.submit(), cluster.submit()
    cluster.ended[task] = None
    cluster.tell(Withdrawn(task))
    cluster.tell(Unfit(0, task, LambdaSearchError("There is no place any more.")))
    cluster.sent[0].remove(task)
    assert cluster.up and not cluster.dispatcher.troubles()
    cluster.answer(0, after)
    assert isinstance(cluster.ended[after], Resolve)


def test_a_host_that_cannot_do_any_task_is_known_until_one_is_done():
    """That it starts proves nothing: those whose only other host fails to start are told."""
    cluster = Cluster()
    cluster.room(unfit=1, broken=1)
    task = cluster.submit()
    for _ in range(400):
        for worker, node in list(cluster.starting.items()):
            if node == "broken":
                cluster.tell(Lost(worker, "no driver"))
            else:
                cluster.ready(worker)
        for worker in list(cluster.up):
            if cluster.sent[worker]:
                cluster.unfit(worker)
        if task in cluster.ended:
            break
        cluster.pass_time(1)
    assert "No worker can start: host-of-unfit has no place; no driver" in error_of(cluster, task)


def test_nodes_join_and_leave():
    cluster = up()
    cluster.room(n1=1, n2=2)
    assert sorted(cluster.starting.values()) == ["n2", "n2"]
    cluster.all_up()
    task = cluster.submit()
    (worker,) = (worker for worker, tasks in cluster.sent.items() if tasks)
    cluster.room(**{node: 2 for node in ("n1", "n2") if node != cluster.nodes[worker]})
    assert worker in cluster.gone
    cluster.answer(next(worker for worker, tasks in cluster.sent.items() if task in tasks))
    assert isinstance(cluster.ended[task], Resolve)


def test_without_any_room_it_is_said():
    cluster = Cluster()
    cluster.room()
    cluster.pass_time(62)
    assert "no worker at all" in str(cluster.told[0])


def growing(**others):
    """A cluster with an autoscaler, one node with room for four, and a worker."""
    cluster = Cluster(grows=True, **others)
    cluster.pass_time(1.0)
    cluster.room(n1=4)
    cluster.all_up()
    return cluster


def test_the_autoscaler_is_asked_for_a_worker_for_each_task_and_no_more():
    cluster = growing(most=3)
    assert cluster.asked == [{None: 1}], "somebody waits for the first"
    assert cluster.dispatcher.size == 1, "room alone is no reason"
    for kind in ("A100", "A100", "H100", None):
        cluster.submit(kind)
    cluster.pass_time(1.0)
    assert cluster.asked[-1] == {"A100": 2, "H100": 1, None: 1}
    cluster.all_up()
    assert cluster.dispatcher.size == 4, "one of them for the kind that is not here yet"
    for _ in range(5):
        cluster.submit("A100")
    cluster.pass_time(1.0)
    assert cluster.asked[-1]["A100"] == 3, "no more than the pool may have"


def test_what_is_not_needed_any_more_is_let_go_of_after_a_lull():
    cluster = growing()
    tasks = [cluster.submit("A100") for _ in range(3)]
    cluster.pass_time(1.0)
    cluster.all_up()
    cluster.pass_time(1.0)
    for worker in list(cluster.up):
        while cluster.sent[worker]:
            cluster.answer(worker)
    assert cluster.ended.keys() == set(tasks)
    cluster.pass_time(cluster.policy.lull - 2.0)
    assert len(cluster.up) == 3, "a study that proposes has no tasks for a while"
    cluster.pass_time(3.0)
    assert cluster.asked[-1] == {} and not cluster.up and not cluster.starting
    count = len(cluster.asked)
    cluster.pass_time(500.0, step=20.0)
    assert len(cluster.asked) == count and not cluster.told, "nothing is needed, and nobody waits"
    again = cluster.submit("A100")
    cluster.pass_time(1.0)
    assert cluster.asked[-1] == {"A100": 1}
    cluster.all_up()
    cluster.answer(next(iter(cluster.up)))
    assert isinstance(cluster.ended[again], Resolve)


def test_what_is_needed_is_asked_for_again_since_others_may_ask_too():
    cluster = growing()
    cluster.submit("H100")
    cluster.pass_time(3 * cluster.policy.again)
    assert 3 <= cluster.asked.count({"H100": 1}) <= 4


def test_a_machine_that_has_to_boot_is_waited_for_longer():
    cluster = growing()
    task = cluster.submit("H100")
    cluster.pass_time(cluster.policy.growing - 60.0, step=10.0)
    assert task not in cluster.ended
    cluster.pass_time(120.0, step=10.0)
    assert f"none has been there for {cluster.policy.growing:.0f} s" in error_of(cluster, task)


def test_without_an_autoscaler_nothing_is_asked_for():
    cluster = up(3)
    cluster.submit("H100")
    cluster.pass_time(100.0)
    assert not cluster.asked and len(cluster.up) == 3


def test_it_knows_where_workers_are_and_which_gpu_drivers_differ():
    cluster = Cluster()
    cluster.room(n1=2, n2=1, n3=1)
    cluster.pass_time(1.0)
    drivers = {"n1": "570.86", "n2": "550.54", "n3": "570.86"}
    while cluster.starting:
        worker, node = next(iter(cluster.starting.items()))
        kind = "H100" if node == "n3" else "A100"
        cluster.ready(worker, kind, {**HERE, GPU_DRIVER: drivers[node]})
        cluster.pass_time(1.0)
    hosts = ["host-of-n1", "host-of-n2", "host-of-n3"]
    kinds = ["A100", "A100", "H100"]
    assert cluster.dispatcher.places() == list(zip(hosts, kinds, [2, 1, 1], strict=True))
    assert cluster.dispatcher.notes() == [
        "hosts with A100 have several GPU drivers: 550.54 on host-of-n2; 570.86 on host-of-n1"
    ]


def test_hosts_that_an_autoscaler_takes_while_workers_start_are_no_reason_to_give_up():
    cluster = Cluster(grows=True)
    tasks = [cluster.submit() for _ in range(4)]
    cluster.room(n1=1, n2=1, n3=1, n4=1)
    cluster.pass_time(1.0)
    for worker in list(cluster.starting):
        cluster.tell(Lost(worker, "its node is gone"))
    cluster.room()
    assert not cluster.ended and not cluster.told
    cluster.pass_time(30.0)
    cluster.room(n5=4)
    cluster.pass_time(1.0)
    cluster.all_up()
    while any(cluster.sent[worker] for worker in cluster.up):
        cluster.answer(next(worker for worker in cluster.up if cluster.sent[worker]))
    assert all(isinstance(cluster.ended[task], Resolve) for task in tasks)


def test_the_first_worker_is_still_there_when_a_study_has_been_read():
    cluster = growing()
    cluster.pass_time(cluster.policy.lull - 2.0)
    assert len(cluster.up) == 1 and cluster.asked[-1] == {}
    cluster.pass_time(3.0)
    assert not cluster.up, "nothing came"


def test_the_time_in_which_nobody_waited_does_not_count():
    cluster = growing()
    cluster.pass_time(cluster.policy.growing - 60.0, step=10.0)
    assert not cluster.up, "let go of"
    cluster.room()
    task = cluster.submit()
    cluster.pass_time(120.0)
    assert task not in cluster.ended, "it has waited for two minutes alone"


def test_nodes_may_come_while_another_thread_asks_what_is_wrong_with_them():
    nodes = Nodes(Policy())

    class Telling:
        def __init__(self, number):
            self.number = number

        @property
        def trouble(self):
            nodes._nodes.setdefault(f"later-{self.number}", Telling(self.number + 100))
            return "t"

    for number in range(3):
        nodes._nodes[f"n{number}"] = Telling(number)
    assert list(nodes.troubles()) == ["t"]
