"""A run: made ready by one process, shared by all, judged by one."""

import json
import logging
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.runners import MasterRunner

from loadtests.locust import preparing
from loadtests.locust.arguments import Options, read_options
from loadtests.locust.desk import Desk, Share, total
from loadtests.locust.objectives import Finding, Numbers, Row, judge, verdict_text
from loadtests.locust.preparing import HOLD_TTL_SECONDS, NotReady, Service, Wanted

_log = logging.getLogger(__name__)
#: Message from the master to a worker.
SHARE = "onsale share"
#: In the reports of workers.
_COUNTS = "onsale"
#: From the end of preparation to the first arrival of an open loop: users start meanwhile.
LEAD_SECONDS = 2.0
#: Payments that a storm of webhooks is about: their bookings' events come in turn.
_PAYMENTS = 20
#: A run that took longer is not judged by what was granted: holds may have expired.
_JUDGED_SECONDS = 0.9 * HOLD_TTL_SECONDS
#: Exit status of a run that could not begin.
NOT_READY = 2


class Run:
    """What a process of Locust knows of the runs that it is part of, one after the other.

    Args:
        environment: Locust's.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._share: Share | None = None
        self._counts: dict[str, dict[str, Any]] = {}
        self._troubles: list[str] = []
        self._began = 0.0
        self._judged = True
        self.desk = Desk()
        self.text = ""
        self._options: Options | None = None

    @property
    def options(self) -> Options:
        """What was asked for, as this run began."""
        assert self._options is not None, "no run has begun"
        return self._options

    # -- before the clock starts ---------------------------------------------------

    def prepare(self, shape: str | None) -> bool:
        """Make everything ready and deal it out; on the master, or where there is only one.

        Args:
            shape: name of its course; None leaves users to Locust.

        Returns:
            Whether the run can begin. If not, it was said why.
        """
        self._counts, self._troubles, self._judged = {}, [], False
        try:
            self._options = read_options(self._environment.parsed_options)
            share = self._prepared(self._options)
            if self._options.open_loop:
                if shape is None:
                    raise NotReady("an open loop needs a shape")
                course = self._options.arrivals_over_time(shape)
                legs = [(leg.seconds, leg.begin, leg.end) for leg in course.legs]
                begins_at = time.time() + LEAD_SECONDS
                share = replace(share, legs=legs, peak=course.peak, begins_at=begins_at)
            self._deal(share, self._options.peak_users(shape))
        except NotReady as error:
            _log.error("%s", error)
            self._share, self._troubles = None, [str(error)]
            return False
        self._share, self._began = share, time.monotonic()
        return True

    @property
    def prepared(self) -> bool:
        """Whether the run has been made ready, and has not been judged yet."""
        return self._share is not None and not self._judged

    def _prepared(self, options: Options) -> Share:
        stories = self._environment.user_classes
        if self._environment.host is None:
            raise NotReady("--host is not given")
        buyers = options.buyers()
        if not buyers and any(story.needs_buyers for story in stories):
            raise NotReady("--tokens-file is not given, and buyers need tokens")
        paying = any(story.needs_sandbox for story in stories)
        if paying and not options.sandbox_url:
            raise NotReady("--sandbox-url is not given, and nobody can pay")
        storming = any(story.needs_webhooks for story in stories)
        if storming and not options.webhook_secret:
            raise NotReady("--webhook-secret is not given, and webhooks are signed with it")
        wanted = Wanted(
            event_id=options.event_id,
            capacity=options.capacity,
            price=options.price,
            tickets=options.door_tickets if any(s.needs_codes for s in stories) else 0,
            payments=_PAYMENTS if storming else 0,
        )
        with (
            closing(Service(self._environment.host, options.organizer_token)) as service,
            closing(Service(options.sandbox_url)) as sandbox,
        ):
            return preparing.prepare(service, sandbox, wanted, buyers)

    def _deal(self, share: Share, users: int) -> None:
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner):
            workers = []
        else:
            workers = [client.id for client in runner.clients.all]
        needed = users + len(workers)
        buying = any(story.needs_buyers for story in self._environment.user_classes)
        if buying and len(share.buyers) < needed:
            raise NotReady(f"{needed} buyers are needed, and there are {len(share.buyers)}")
        for worker, part in zip(workers, share.dealt(len(workers)), strict=True):
            runner.send_message(SHARE, asdict(part), client_id=worker)

    def receive(self, share: dict[str, Any]) -> None:
        """Take what the master has dealt this worker."""
        self._share = Share(**share)

    def begin(self) -> None:
        """Begin, where visitors are."""
        self._options = read_options(self._environment.parsed_options)
        share = self._share or Share()
        self.desk.take_share(share)
        if share.legs:
            began = time.monotonic() + share.begins_at - time.time()
            self.desk.open(began, self._options.patience_seconds)

    def end(self) -> None:
        """Count what was not done in time."""
        if self.desk.arrivals is not None:
            self.desk.arrivals.close(time.monotonic())

    def note_trouble(self, trouble: str) -> None:
        """Note what makes this run no measurement."""
        self._troubles.append(trouble)

    # -- afterwards ----------------------------------------------------------------

    def report(self, report: dict[str, Any]) -> None:
        """Enter what was counted here since the run began into a report to the master."""
        report[_COUNTS] = self.desk.counts()

    def hear(self, worker: str, report: dict[str, Any]) -> None:
        """Note what a worker reports; its first report may come before it is ready."""
        if _COUNTS in report:
            self._counts[worker] = report[_COUNTS]

    def judge(self) -> int | None:
        """Judge the run, once; return the exit status, None if there was no run to judge."""
        if self._judged:
            return None
        self._judged = True
        if self._share is None:
            self.text = "".join(f"\nThe run did not begin: {why}\n" for why in self._troubles)
            return NOT_READY
        numbers = self._numbers(self._share)
        findings = judge(numbers, self.options.objectives)
        self.text = verdict_text(findings, numbers)
        if self.options.verdict_file:
            self._keep(Path(self.options.verdict_file), findings, numbers)
        return 0 if all(finding.met for finding in findings) else 1

    def _numbers(self, share: Share) -> Numbers:
        runner = self._environment.runner
        troubles = [*self._troubles]
        troubles += [f"{one['count']} x {one['msg']}" for one in runner.exceptions.values()]
        if isinstance(runner, MasterRunner):
            counts = total(list(self._counts.values()))
            troubles += [f"worker {client.id} went missing" for client in runner.clients.missing]
        else:
            counts = total([self.desk.counts()])
        audits = []
        with closing(Service(self._environment.host, self.options.organizer_token)) as service:
            for event_id in filter(None, (share.event_id, share.door_event_id)):
                try:
                    audits.append(preparing.audit(service, event_id))
                except NotReady as error:
                    troubles.append(str(error))
        short = time.monotonic() - self._began < _JUDGED_SECONDS
        made = share.event_id if short and not self.options.event_id else None
        notes = []
        if runner.cpu_warning_emitted or runner.worker_cpu_warning_emitted:
            notes.append("Locust was short of CPU itself: latencies contain its own waiting")
        return Numbers(self._rows(), counts, audits, made, troubles, notes)

    def _rows(self) -> list[Row]:
        return [
            Row(
                entry.method,
                entry.name,
                entry.num_requests,
                entry.num_failures,
                float(entry.get_response_time_percentile(0.95)),
            )
            for entry in self._environment.stats.entries.values()
        ]

    def _keep(self, path: Path, findings: list[Finding], numbers: Numbers) -> None:
        document = {
            "schema": 1,
            "green": all(finding.met for finding in findings),
            "findings": [asdict(finding) for finding in findings],
            "stories": [story.__name__ for story in self._environment.user_classes],
            **asdict(numbers),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n")
